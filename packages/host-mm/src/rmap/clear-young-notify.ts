import type { Address, Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { indexToHva } from "../page-table/mapping-window.js";
import { PAGE_SIZE, PMD_SIZE } from "../page-table/page-size.js";
import { PAGE_ACCESSED } from "../page-table/pte.js";

const NOT_ACCESSED = BigInt.asUintN(64, ~PAGE_ACCESSED);

// All four ask both the primary entry and the notifier, always, and answer with the OR. Held: the lock of the table with the
// entry, so that it stays the mapping of `index`; only the hardware walker may set bits in it meanwhile.

/**
 * `ptep_test_and_clear_young`, also of a PMD leaf: whether Accessed was set; clears it. An AND, so that a Dirty bit that a walker sets
 * at the same time is kept.
 */
function testAndClearYoung(cpu: Cpu, entry: Address): boolean {
  if ((cpu.readOnce(entry) & PAGE_ACCESSED) === 0n) return false;
  return (cpu.fetchAnd(entry, NOT_ACCESSED, "full") & PAGE_ACCESSED) !== 0n;
}

/** `ptep_clear_young_notify`: one 4 KiB page. */
export function ptepClearYoungNotify(mm: MmStruct, cpu: Cpu, pte: Address, index: number): boolean {
  const primary = testAndClearYoung(cpu, pte);
  const hva = indexToHva(index);
  const secondary = mm.notifiers.clearYoung(cpu, hva, hva + PAGE_SIZE);
  return primary || secondary;
}

/** `pmdp_clear_young_notify`: 2 MiB; `index` is the first page. */
export function pmdpClearYoungNotify(mm: MmStruct, cpu: Cpu, pmd: Address, index: number): boolean {
  const primary = testAndClearYoung(cpu, pmd);
  const hva = indexToHva(index);
  const secondary = mm.notifiers.clearYoung(cpu, hva, hva + PMD_SIZE);
  return primary || secondary;
}

/** `ptep_clear_flush_young_notify`: one 4 KiB page; x86 does not flush its own TLB for it. */
export function ptepClearFlushYoungNotify(mm: MmStruct, cpu: Cpu, pte: Address, index: number): boolean {
  const primary = testAndClearYoung(cpu, pte);
  const hva = indexToHva(index);
  const secondary = mm.notifiers.clearFlushYoung(cpu, hva, hva + PAGE_SIZE);
  return primary || secondary;
}

/** `pmdp_clear_flush_young_notify`: 2 MiB. The flush of the primary TLB has no effect here: none is modelled. */
export function pmdpClearFlushYoungNotify(mm: MmStruct, cpu: Cpu, pmd: Address, index: number): boolean {
  const primary = testAndClearYoung(cpu, pmd);
  const hva = indexToHva(index);
  const secondary = mm.notifiers.clearFlushYoung(cpu, hva, hva + PMD_SIZE);
  return primary || secondary;
}
