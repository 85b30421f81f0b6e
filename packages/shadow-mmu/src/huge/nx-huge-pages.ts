import type { Cpu } from "@kvm-age/machine";
import { type KvmMmuPage, nxHugePageDisallowedWord } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";

function addPossible(mmu: ShadowMmu, cpu: Cpu, addend: 1 | -1): void {
  cpu.writeOnce32(mmu.possibleNxCountWord, cpu.readOnce32(mmu.possibleNxCountWord) + addend);
  cpu.fetchAdd32(mmu.statistics.word("nx_lpage_splits"), addend, "relaxed");
}

/**
 * `track_possible_nx_huge_page`: puts a table on the list. One that was linked at another place before may be on it
 * already.
 */
function trackPossibleNxHugePage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): void {
  if (mmu.possibleNxHugePages.has(cpu, sp)) return;
  mmu.possibleNxHugePages.addLast(cpu, sp);
  addPossible(mmu, cpu, 1);
}

/** `untrack_possible_nx_huge_page`: takes a table off the list if it is on it. Held: `mmu_lock` for write. */
export function untrackPossibleNxHugePage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): void {
  if (!mmu.possibleNxHugePages.has(cpu, sp)) return;
  mmu.possibleNxHugePages.remove(cpu, sp);
  addPossible(mmu, cpu, -1);
}

/**
 * `account_nx_huge_page`: the table was linked because the mitigation forbids an executable huge page. Held: `mmu_lock` for
 * write.
 *
 * @param possible whether nothing else forbids the huge page, so that the table is worth being recovered
 */
export function accountNxHugePage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, possible: boolean): void {
  cpu.writeOnce32(nxHugePageDisallowedWord(sp), 1);
  if (possible) trackPossibleNxHugePage(mmu, cpu, sp);
}

/** `unaccount_nx_huge_page`: drops the mark of a table and its place on the list. Held: `mmu_lock` for write. */
export function unaccountNxHugePage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): void {
  cpu.writeOnce32(nxHugePageDisallowedWord(sp), 0);
  untrackPossibleNxHugePage(mmu, cpu, sp);
}
