import type { TraceRecord } from "@kvm-age/trace";
import type { Operation } from "../input/operation.js";
import { describeEvent } from "./conformance-report.js";

/** The operation to which a line of the trace belongs; for a line of none, the last one that began before it. */
export function operationOfLine(operations: readonly Operation[], line: number): Operation | null {
  let last: Operation | null = null;
  for (const operation of operations) {
    if (operation.records.some((record) => record.line === line)) return operation;
    if (operation.line <= line) last = operation;
  }
  return last;
}

/** The record that is the operation's input; null if its cause is not in the trace. */
export function inputOf({ kind, records }: Operation): TraceRecord | null {
  if (kind === "unprompted") return null;
  return records.find((record) => record.kind !== "probe") ?? records[0]!;
}

/** A record in one line: who, and what. */
export function describeRecord(record: TraceRecord): string {
  const task = `${record.comm}-${record.pid}`;
  switch (record.kind) {
    case "kvm":
      return `${task}: ${describeEvent(record)}`;
    case "note":
      return `${task}: ${record.text}`;
    case "probe":
      return `${task}: ${record.name} ${record.place}`;
    case "other":
      return `${task}: ${record.name} ${record.payload}`;
  }
}
