import type { KvmEvent, TraceRecord } from "@kvm-age/trace";
import { parseAgevmNote } from "./agevm-note.js";
import type { RootPageLevel } from "./root-level.js";

/** So many different ranges must be announced twice before it is believed that two VMs listen. */
const REPEATED_RANGES = 3;

/**
 * Lines at which another VM begins; the first begins with the trace. No event names a VM. One shows by what VMs have of their own: a
 * subscription to the owner's notifier, so that two VMs of one process print every invalidation twice; and a life, at whose end everything
 * is zapped without a slot being deleted.
 */
export function findVmStarts(records: readonly TraceRecord[], rootLevel: RootPageLevel): number[] {
  const starts = [...startsAfterAnEnd(records, rootLevel), ...startsBesideAnother(records)];
  const inOrder = [0, ...new Set(starts)].sort((one, other) => one - other);
  const announced = records.filter(isAnnounced).map(({ line }) => line);
  return inOrder.map((start, index) => {
    const notes = announced.filter((line) => line < start && line > (inOrder[index - 1] ?? start));
    return notes.at(-1) ?? start;
  });
}

/** The recorded VMM's first word about a VM, which comes before anything that it does. */
function isAnnounced(record: TraceRecord): boolean {
  return record.kind === "note" && parseAgevmNote(record.text)?.what === "start";
}

/** Roots that are made after everything was zapped for good. */
function startsAfterAnEnd(records: readonly TraceRecord[], rootLevel: RootPageLevel): number[] {
  const starts: number[] = [];
  let slotDeleted = false;
  let ended = false;
  for (const record of records) {
    if (record.kind !== "kvm") continue;
    if (record.name === "kvm_mmu_zap_all_fast") slotDeleted = true;
    if (isLastZap(record, rootLevel) && !slotDeleted) ended = true;
    if (record.name !== "kvm_mmu_get_page" || record.fields.level !== rootLevel) continue;
    if (ended) starts.push(record.line);
    ended = false;
    slotDeleted = false;
  }
  return starts;
}

/** The top entry of a root becomes empty, or the last user of an invalid root lets it go. */
function isLastZap(event: KvmEvent, rootLevel: RootPageLevel): boolean {
  if (event.name === "kvm_tdp_mmu_spte_changed") {
    return event.fields.level === rootLevel && event.fields.new_spte === 1n << 63n;
  }
  if (event.name !== "kvm_mmu_prepare_zap_page") return false;
  const { level, invalid, root } = event.fields;
  return level === rootLevel && invalid && root === 0;
}

/** The first of the ranges that are announced as often as no range before. */
function startsBesideAnother(records: readonly TraceRecord[]): number[] {
  const repeated = repeatedRanges(records);
  const most = Math.max(1, ...repeated.map(({ times }) => times));
  const starts: number[] = [];
  for (let times = 2; times <= most; times++) {
    const runs = repeated.filter((run) => run.times >= times);
    if (runs.length >= REPEATED_RANGES) starts.push(runs[0]!.line);
  }
  return starts;
}

/** One invalidation, announced several times in a row by the same task. */
interface Run {
  readonly line: number;
  readonly start: number;
  readonly end: number;
  readonly times: number;
}

function repeatedRanges(records: readonly TraceRecord[]): Run[] {
  const open = new Map<number, Run>();
  const runs: Run[] = [];
  for (const record of records) {
    if (record.kind === "probe") continue;
    const run = open.get(record.pid);
    const range = record.kind === "kvm" && record.name === "kvm_unmap_hva_range" ? record.fields : null;
    if (range !== null && run !== undefined && run.start === range.start && run.end === range.end) {
      open.set(record.pid, { ...run, times: run.times + 1 });
      continue;
    }
    if (run !== undefined && run.times > 1) runs.push(run);
    if (range === null) open.delete(record.pid);
    else open.set(record.pid, { ...range, line: record.line, times: 1 });
  }
  return runs;
}
