import type { TraceRecord } from "@kvm-age/trace";
import type { RunContext } from "../../terminal/run-context.js";
import {
  checkHasEvents,
  type KernelTrace,
  type KernelTraceOptions,
  openKernelTrace,
} from "../../trace-reports/open-kernel-trace.js";
import { isReplayedEvent } from "../compare/replayed-events.js";
import { IncompleteTraceError, NothingToReplayError, TooManyRecordsError } from "./errors.js";
import { whyIncomplete } from "./why-incomplete.js";

/** Most records that are kept. A record takes about half a kilobyte with what the replay makes of it. */
const MAX_REPLAYED_RECORDS = 2_000_000;

/** A trace whose records are in memory. */
export interface ReplayableTrace {
  readonly trace: KernelTrace;
  /** Without those of other subsystems. */
  readonly records: readonly TraceRecord[];
}

/**
 * Reads a trace as a whole, and checks that a replay of it can tell something.
 *
 * @param limit most records that are kept
 * @returns null when the user interrupted
 * @throws TooManyRecordsError, NothingToReplayError, IncompleteTraceError
 * @throws whatever `openKernelTrace` throws
 */
export async function readReplayableTrace(
  path: string,
  options: KernelTraceOptions,
  context: Pick<RunContext, "signal" | "progress">,
  limit: number = MAX_REPLAYED_RECORDS,
): Promise<ReplayableTrace | null> {
  const trace = await openKernelTrace(path, options, context);
  const records: TraceRecord[] = [];
  for await (const batch of trace.batches) keep(path, records, batch, limit);
  if (context.signal.aborted) return null;
  const report = trace.report();
  checkHasEvents(path, report);
  if (!records.some((record) => record.kind === "kvm" && isReplayedEvent(record.name))) {
    throw new NothingToReplayError(path, report.records);
  }
  const reasons = whyIncomplete({ records, report, truncated: trace.truncated() });
  if (reasons.length > 0) throw new IncompleteTraceError(path, reasons);
  return { trace, records };
}

function keep(path: string, records: TraceRecord[], batch: readonly TraceRecord[], limit: number): void {
  for (const record of batch) {
    if (record.kind === "other") continue;
    if (records.length === limit) throw new TooManyRecordsError(path, record.line, limit);
    records.push(record);
  }
}
