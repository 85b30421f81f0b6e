import type { TraceReadReport, TraceRecord, TruncatedTraceError } from "@kvm-age/trace";
import { parseAgevmNote } from "../input/agevm-note.js";

/** What reading a trace as a whole gave. */
export interface ReadTrace {
  readonly records: readonly TraceRecord[];
  readonly report: TraceReadReport;
  readonly truncated: TruncatedTraceError | null;
}

/** What is missing in a trace, one clause each; empty if it seems complete. */
export function whyIncomplete({ records, report, truncated }: ReadTrace): string[] {
  const reasons = [...readingReasons(report), ...beginningReasons(records)];
  return truncated === null ? reasons : [...reasons, truncated.message];
}

function readingReasons({ damaged, lost, header }: TraceReadReport): string[] {
  const reasons: string[] = [];
  const [first] = damaged.first;
  if (first !== undefined) {
    const more = damaged.count === 1 ? "" : `, nor can ${damaged.count - 1} more`;
    reasons.push(`line ${first.line} cannot be read (${first.reason})${more}`);
  }
  if (lost.events > 0) reasons.push(`${lost.events} events were lost, as it says itself`);
  if (lost.unknown > 0) reasons.push(`events were lost in ${lost.unknown} places, as it says itself`);
  const overwritten = header === null ? 0 : header.entriesWritten - header.entriesInBuffer;
  if (overwritten > 0) {
    reasons.push(`${overwritten} of ${header!.entriesWritten} events were overwritten in the ring buffer`);
  }
  return reasons;
}

/** The replay begins with a VM that has nothing mapped, and so must the trace. */
function beginningReasons(records: readonly TraceRecord[]): string[] {
  const late = faultWithoutRoot(records);
  const lost = noteBeforeStart(records);
  return [
    ...(late === null
      ? []
      : [
          `the fault in line ${late.line} comes before its VM has a root (kvm_mmu_get_page): begin to record before the VM`,
        ]),
    ...(lost === null
      ? []
      : [`the VMM's note in line ${lost.line} comes before the one with which it starts`]),
  ];
}

function faultWithoutRoot(records: readonly TraceRecord[]): TraceRecord | null {
  for (const record of records) {
    if (record.kind !== "kvm") continue;
    if (record.name === "kvm_mmu_get_page") return null;
    if (record.name === "kvm_page_fault") return record;
  }
  return null;
}

function noteBeforeStart(records: readonly TraceRecord[]): TraceRecord | null {
  for (const record of records) {
    const note = record.kind === "note" ? parseAgevmNote(record.text) : null;
    if (note !== null) return note.what === "start" ? null : record;
  }
  return null;
}
