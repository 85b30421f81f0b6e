import { setImmediate } from "node:timers/promises";
import { OutOfMemoryError } from "@kvm-age/machine";
import type { RunContext } from "../../terminal/run-context.js";
import { AgevmNoteError } from "../input/agevm-note.js";
import { UnreplayableTraceError } from "../reading/errors.js";
import type { StartedReplay } from "./replay-trace.js";

/** Operations between two looks at Ctrl-C. */
export const OPERATIONS_AT_A_STRETCH = 256;

/**
 * Takes the steps of a replay until it has ended, or the user interrupts.
 *
 * @returns how many operations were replayed
 * @throws UnreplayableTraceError if a note lacks a value, or the VM's page tables do not fit into the model's memory
 */
export async function takeSteps(
  { steps, operations }: StartedReplay,
  path: string,
  { signal, progress }: Pick<RunContext, "signal" | "progress">,
): Promise<number> {
  let done = 0;
  try {
    for (const _ of steps) {
      if (++done % OPERATIONS_AT_A_STRETCH !== 0) continue;
      progress.update(`replaying ${path}: ${done} of ${operations.length} operations`);
      await setImmediate();
      if (signal.aborted) break;
    }
  } catch (error) {
    if (!(error instanceof AgevmNoteError || error instanceof OutOfMemoryError)) throw error;
    throw new UnreplayableTraceError(path, operations[done]!.line, error);
  }
  return done;
}
