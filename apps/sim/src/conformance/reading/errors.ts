import { UsageError } from "../../options/errors.js";

/** Thrown when a trace has more records than a replay keeps in memory. */
export class TooManyRecordsError extends UsageError {
  override readonly name = "TooManyRecordsError";
  constructor(path: string, line: number, limit: number) {
    const allowed = limit.toLocaleString("en-US");
    super(
      `trace ${path} has its ${(limit + 1).toLocaleString("en-US")}th record of KVM at line ${line}; a replay keeps all of them in memory ` +
        `and takes at most ${allowed}: record for a shorter time, from the start of the VM`,
    );
  }
}

/** Thrown when a trace has no event that a replay could begin with. */
export class NothingToReplayError extends UsageError {
  override readonly name = "NothingToReplayError";
  constructor(path: string, records: number) {
    super(
      `trace ${path} has no event of KVM's MMU among its ${records.toLocaleString("en-US")} records: ` +
        "record the events kvm:* and kvmmmu:*",
    );
  }
}

/** Thrown when something is missing in a trace: the model would go another way from there on, whatever the kernel did. */
export class IncompleteTraceError extends UsageError {
  override readonly name = "IncompleteTraceError";
  constructor(path: string, reasons: readonly string[]) {
    super(`trace ${path} is incomplete, so that its conformance cannot be judged: ${reasons.join("; ")}`);
  }
}

/** Thrown when the model cannot be given what the trace says. */
export class UnreplayableTraceError extends UsageError {
  override readonly name = "UnreplayableTraceError";
  constructor(path: string, line: number, cause: Error) {
    super(`trace ${path}, line ${line} cannot be replayed: ${cause.message}`, { cause });
  }
}
