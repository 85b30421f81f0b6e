import { type Cpu, offset } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import type { Memslots } from "../memslots/memslots.js";
import {
  MEMSLOTS_MMU_INVALIDATE_RANGE_END,
  MEMSLOTS_MMU_INVALIDATE_RANGE_START,
} from "../memslots/memslots-layout.js";
import { INVALID_GFN_WORD, mmuInvalidateInProgress } from "./kvm-mmu-invalidate.js";

/**
 * Whether any invalidation is in progress or ended since `mmuSeq` was read (kernel `mmu_invalidate_retry`).
 * The barrier pairs with the one in `kvmMmuInvalidateEnd`: an invalidation that is no longer in progress has
 * moved the sequence.
 */
export function mmuInvalidateRetry(memslots: Memslots, cpu: Cpu, mmuSeq: bigint): boolean {
  if (mmuInvalidateInProgress(memslots, cpu) !== 0) return true;
  cpu.smpRmb();
  return memslots.mmuInvalidateSeq(cpu) !== mmuSeq;
}

/**
 * Whether a page looked up after `mmuSeq` was read must not be mapped at `gfn` (kernel
 * `mmu_invalidate_retry_gfn`): an invalidation in progress covers it, or one has ended since. Decides. Held:
 * `mmu_lock` in any mode, until the mapping is installed.
 */
export function mmuInvalidateRetryGfn(memslots: Memslots, cpu: Cpu, mmuSeq: bigint, gfn: Gfn): boolean {
  cpu.lockdep.assertHeld(memslots.locks.mmuLock, "any");
  if (mmuInvalidateInProgress(memslots, cpu) !== 0) {
    const start = cpu.readOnce(offset(memslots.address, MEMSLOTS_MMU_INVALIDATE_RANGE_START));
    if (start === INVALID_GFN_WORD) {
      memslots.warn(cpu, "retry-without-range");
      return true;
    }
    const end = cpu.readOnce(offset(memslots.address, MEMSLOTS_MMU_INVALIDATE_RANGE_END));
    if (BigInt(gfn) >= start && BigInt(gfn) < end) return true;
  }
  return memslots.mmuInvalidateSeq(cpu) !== mmuSeq;
}

/**
 * The same without a lock (kernel `mmu_invalidate_retry_gfn_unsafe`): saves a useless lookup or lock, and may
 * be wrong both ways, because the words it reads change one by one. Never a substitute for
 * `mmuInvalidateRetryGfn`.
 */
export function mmuInvalidateRetryGfnUnsafe(memslots: Memslots, cpu: Cpu, mmuSeq: bigint, gfn: Gfn): boolean {
  if (mmuInvalidateInProgress(memslots, cpu) !== 0) {
    const start = cpu.readOnce(offset(memslots.address, MEMSLOTS_MMU_INVALIDATE_RANGE_START));
    const end = cpu.readOnce(offset(memslots.address, MEMSLOTS_MMU_INVALIDATE_RANGE_END));
    if (BigInt(gfn) >= start && BigInt(gfn) < end) return true;
  }
  return memslots.mmuInvalidateSeq(cpu) !== mmuSeq;
}
