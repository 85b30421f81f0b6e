import type { Cpu } from "@kvm-age/machine";
import { MmuNotifierEvent, type MmuNotifierRange } from "../notifier/mmu-notifier-range.js";
import { indexToHva } from "../page-table/mapping-window.js";
import { freePageTables } from "./free-page-tables.js";
import type { PageRange } from "./map-range.js";
import type { MmStruct } from "./mm-struct.js";
import { MmuGather } from "./mmu-gather.js";
import { zapPageRange } from "./zap-page-range.js";

/**
 * `unmap_region`: takes everything out of the page tables in the range, with one bracket around the whole of it. Order: start (KVM drops its
 * translations), entries cleared, tables unlinked, end, frames freed. Held: the mmap lock for write; no VMA covers the range any
 * more.
 */
export function unmapRegion(mm: MmStruct, cpu: Cpu, range: PageRange): void {
  const gather = new MmuGather(mm.frameRecords);
  const bracket = bracketOf(range, MmuNotifierEvent.UNMAP);
  mm.notifiers.invalidateRangeStart(cpu, bracket);
  zapPageRange(mm, cpu, range.start, range.end, gather);
  freePageTables(mm, cpu, range.start, range.end, gather);
  mm.notifiers.invalidateRangeEnd(cpu, bracket);
  gather.finish(cpu);
}

/** What the notifiers are told about a change of the whole range. */
export function bracketOf(range: PageRange, event: MmuNotifierEvent): MmuNotifierRange {
  return { start: indexToHva(range.start), end: indexToHva(range.end), blockable: true, event };
}
