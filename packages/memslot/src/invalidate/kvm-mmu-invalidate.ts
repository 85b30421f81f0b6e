import { type Cpu, offset } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import { UnbalancedInvalidationError } from "../errors.js";
import type { Memslots } from "../memslots/memslots.js";
import {
  MEMSLOTS_MMU_INVALIDATE_IN_PROGRESS,
  MEMSLOTS_MMU_INVALIDATE_RANGE_END,
  MEMSLOTS_MMU_INVALIDATE_RANGE_START,
  MEMSLOTS_MMU_INVALIDATE_SEQ,
} from "../memslots/memslots-layout.js";

/** "No range was added yet", in both words of the hull (kernel `INVALID_GPA`). */
export const INVALID_GFN_WORD: bigint = 2n ** 64n - 1n;

/** Invalidations between start and end. Exact under `mmu_lock`. */
export function mmuInvalidateInProgress(memslots: Memslots, cpu: Cpu): number {
  return cpu.readOnce32(offset(memslots.address, MEMSLOTS_MMU_INVALIDATE_IN_PROGRESS));
}

/**
 * Opens an invalidation (kernel `kvm_mmu_invalidate_start`, before 7.3 `…_begin`). The first one that is open
 * resets the hull. Held: `mmu_lock` for write, so that faults see the count and the hull change as one.
 */
export function kvmMmuInvalidateStart(memslots: Memslots, cpu: Cpu): void {
  cpu.lockdep.assertHeld(memslots.locks.mmuLock, "write");
  const inProgress = mmuInvalidateInProgress(memslots, cpu) + 1;
  cpu.writeOnce32(offset(memslots.address, MEMSLOTS_MMU_INVALIDATE_IN_PROGRESS), inProgress);
  if (inProgress === 1) {
    cpu.writeOnce(offset(memslots.address, MEMSLOTS_MMU_INVALIDATE_RANGE_START), INVALID_GFN_WORD);
    cpu.writeOnce(offset(memslots.address, MEMSLOTS_MMU_INVALIDATE_RANGE_END), INVALID_GFN_WORD);
  }
}

/**
 * Widens the hull of the open invalidations to [`start`, `end`) (kernel `kvm_mmu_invalidate_range_add`). It
 * shrinks only when all are closed. Outside an invalidation it warns and does nothing. Held: `mmu_lock` for
 * write.
 */
export function kvmMmuInvalidateRangeAdd(memslots: Memslots, cpu: Cpu, start: Gfn, end: Gfn): void {
  cpu.lockdep.assertHeld(memslots.locks.mmuLock, "write");
  if (mmuInvalidateInProgress(memslots, cpu) === 0) {
    memslots.warn(cpu, "range-add-outside-invalidation");
    return;
  }
  const startWord = offset(memslots.address, MEMSLOTS_MMU_INVALIDATE_RANGE_START);
  const endWord = offset(memslots.address, MEMSLOTS_MMU_INVALIDATE_RANGE_END);
  const oldStart = cpu.readOnce(startWord);
  const oldEnd = cpu.readOnce(endWord);
  const isFirst = oldStart === INVALID_GFN_WORD;
  // A lockless pre-check may read one word before and one after: it may err, and is made again under the
  // lock.
  if (isFirst || BigInt(start) < oldStart) cpu.writeOnce(startWord, BigInt(start));
  if (isFirst || BigInt(end) > oldEnd) cpu.writeOnce(endWord, BigInt(end));
}

/**
 * Closes an invalidation (kernel `kvm_mmu_invalidate_end`). The barrier makes the new sequence number visible
 * before the count drops: it pairs with the read barrier between a fault's reads, so a fault that finds
 * nothing in progress finds the sequence changed. Held: `mmu_lock` for write.
 *
 * @throws UnbalancedInvalidationError if none is open.
 */
export function kvmMmuInvalidateEnd(memslots: Memslots, cpu: Cpu): void {
  cpu.lockdep.assertHeld(memslots.locks.mmuLock, "write");
  const seqWord = offset(memslots.address, MEMSLOTS_MMU_INVALIDATE_SEQ);
  const inProgress = mmuInvalidateInProgress(memslots, cpu);
  if (inProgress === 0) throw new UnbalancedInvalidationError("mmu_invalidate_in_progress", inProgress);
  cpu.writeOnce(seqWord, BigInt.asUintN(64, cpu.readOnce(seqWord) + 1n));
  cpu.smpWmb();
  cpu.writeOnce32(offset(memslots.address, MEMSLOTS_MMU_INVALIDATE_IN_PROGRESS), inProgress - 1);
  if (cpu.readOnce(offset(memslots.address, MEMSLOTS_MMU_INVALIDATE_RANGE_START)) === INVALID_GFN_WORD) {
    memslots.warn(cpu, "invalidation-without-range");
  }
}
