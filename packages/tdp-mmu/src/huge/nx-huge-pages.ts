import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import {
  type KvmMmuPage,
  nxHugePageDisallowedWord,
  possibleNxNextWord,
  possibleNxPreviousWord,
} from "../page/kvm-mmu-page.js";
import type { TdpMmu } from "../tdp-mmu.js";

/**
 * `track_possible_nx_huge_page` after a link: puts a table that exists only for the mitigation on the list, unless it has
 * been unlinked since.
 */
export function trackPossibleNxHugePage(mmu: TdpMmu, cpu: Cpu, sp: KvmMmuPage): void {
  cpu.spinLock(mmu.pagesLock);
  if (cpu.readOnce32(nxHugePageDisallowedWord(sp)) !== 0) {
    const first = cpu.readOnce32(mmu.possibleNxHugePagesWord) as KvmMmuPage;
    cpu.writeOnce32(possibleNxNextWord(sp), first);
    cpu.writeOnce32(possibleNxPreviousWord(sp), NULL_ADDRESS);
    if (first !== NULL_ADDRESS) cpu.writeOnce32(possibleNxPreviousWord(first), sp);
    cpu.writeOnce32(mmu.possibleNxHugePagesWord, sp);
    cpu.writeOnce32(mmu.possibleNxCountWord, cpu.readOnce32(mmu.possibleNxCountWord) + 1);
    cpu.fetchAdd32(mmu.statistics.word("nx_lpage_splits"), 1, "relaxed");
  }
  cpu.spinUnlock(mmu.pagesLock);
}

function isOnList(mmu: TdpMmu, cpu: Cpu, sp: KvmMmuPage): boolean {
  return (
    cpu.readOnce32(mmu.possibleNxHugePagesWord) === sp ||
    cpu.readOnce32(possibleNxPreviousWord(sp)) !== NULL_ADDRESS
  );
}

/** `untrack_possible_nx_huge_page`: takes a table off the list if it is on it. Under `pagesLock`. */
export function untrackPossibleNxHugePage(mmu: TdpMmu, cpu: Cpu, sp: KvmMmuPage): void {
  if (!isOnList(mmu, cpu, sp)) return;
  const next = cpu.readOnce32(possibleNxNextWord(sp)) as KvmMmuPage;
  const previous = cpu.readOnce32(possibleNxPreviousWord(sp)) as KvmMmuPage;
  cpu.writeOnce32(
    previous === NULL_ADDRESS ? mmu.possibleNxHugePagesWord : possibleNxNextWord(previous),
    next,
  );
  if (next !== NULL_ADDRESS) cpu.writeOnce32(possibleNxPreviousWord(next), previous);
  cpu.writeOnce32(possibleNxNextWord(sp), NULL_ADDRESS);
  cpu.writeOnce32(possibleNxPreviousWord(sp), NULL_ADDRESS);
  cpu.writeOnce32(mmu.possibleNxCountWord, cpu.readOnce32(mmu.possibleNxCountWord) - 1);
  cpu.fetchAdd32(mmu.statistics.word("nx_lpage_splits"), -1, "relaxed");
}

/** Drops the mark of a table that is being removed, and its place on the list. */
export function unaccountNxHugePage(mmu: TdpMmu, cpu: Cpu, sp: KvmMmuPage): void {
  // Set only by the thread that made the table, before it was linked; so 0 here cannot become 1.
  if (cpu.readOnce32(nxHugePageDisallowedWord(sp)) === 0) return;
  cpu.spinLock(mmu.pagesLock);
  cpu.writeOnce32(nxHugePageDisallowedWord(sp), 0);
  untrackPossibleNxHugePage(mmu, cpu, sp);
  cpu.spinUnlock(mmu.pagesLock);
}
