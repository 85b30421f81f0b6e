import type { RunContext } from "../terminal/run-context.js";
import type { RecordedEvents, Recording } from "./recording.js";

/** A run's result and, if it was recorded, what came of that. */
export interface RecordedRun<Result> {
  readonly result: Result;
  readonly trace: RecordedEvents | null;
}

/**
 * Runs something, recorded if there is a recording. The trace is written whatever becomes of the run: an interrupted run's with a note that
 * says so, that of a failed one too, before its error goes on.
 *
 * @throws TraceFileError when the trace cannot be written
 */
export async function recordRun<Result>(
  recording: Recording | null,
  context: RunContext,
  run: (context: RunContext) => Promise<Result>,
): Promise<RecordedRun<Result>> {
  if (recording === null) return { result: await run(context), trace: null };
  let result: Result;
  try {
    result = await run({ ...context, recording });
  } catch (error) {
    recording.note(`failed: ${(error as Error).message}`);
    await recording.finish(context.progress);
    throw error;
  }
  recording.note(context.signal.aborted ? "interrupted: the run ends here" : "end");
  return { result, trace: await recording.finish(context.progress) };
}
