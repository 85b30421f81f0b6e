import type { TraceRecord } from "@kvm-age/trace";
import type { Operation } from "../input/operation.js";
import { describeEvent } from "./conformance-report.js";

/** An operation in words. */
export interface DescribedOperation {
  /** Line of the record that is its input, or of its first one. */
  readonly line: number;
  readonly text: string;
}

/** Who began an operation, and with what. */
export function describeOperation({ kind, records }: Operation): DescribedOperation {
  const first = records[0]!;
  if (kind === "unprompted") {
    return { line: first.line, text: `${describeRecord(first)} (its cause is not in the trace)` };
  }
  const input = records.find((record) => record.kind !== "probe") ?? first;
  return { line: input.line, text: describeRecord(input) };
}

function describeRecord(record: TraceRecord): string {
  return `${record.comm}-${record.pid}: ${describePayload(record)}`;
}

function describePayload(record: TraceRecord): string {
  switch (record.kind) {
    case "kvm":
      return describeEvent(record);
    case "note":
      return record.text;
    case "probe":
      return `${record.name} ${record.place}`;
    case "other":
      return `${record.name} ${record.payload}`;
  }
}
