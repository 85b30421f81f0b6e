import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import { hashNextWord, hashPreviousWord, type KvmMmuPage, NO_PAGE } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";

/** Buckets of `mmu_page_hash` (`KVM_NUM_MMU_PAGES`). */
export const KVM_NUM_MMU_PAGES = 4096;

/** `GOLDEN_RATIO_64`, multiplier of the kernel's `hash_64`. */
const GOLDEN_RATIO_64 = 0x61c8_8646_80b5_83ebn;
/** 64 less the 12 bits of a bucket number. */
const HASH_SHIFT = 52n;

const BUCKET_BYTES = 4;

/** `kvm_page_table_hashfn`: number of the bucket of a gfn, 0 … 4095: the top 12 bits of a 64-bit product. */
export function kvmPageTableHashfn(gfn: Gfn): number {
  return Number(BigInt.asUintN(64, BigInt(gfn) * GOLDEN_RATIO_64) >> HASH_SHIFT);
}

/**
 * `kvm_mmu_alloc_page_hash`: gives the VM its hash of shadow pages, unless it has one. Held: nothing that `slots_arch_lock`
 * may not be taken inside of.
 *
 * @throws OutOfMemoryError
 */
export function kvmMmuAllocPageHash(mmu: ShadowMmu, cpu: Cpu): void {
  if (pageHash(mmu, cpu) !== NULL_ADDRESS) return;
  const { slotsArchLock } = mmu.memslots.locks;
  cpu.mutexLock(slotsArchLock);
  try {
    if (cpu.readOnce32(mmu.pageHashWord) !== NULL_ADDRESS) return;
    const span = mmu.frames.allocateSpan(cpu, KVM_NUM_MMU_PAGES * BUCKET_BYTES);
    // Release pairs with the acquire in `pageHash`: who sees the address sees empty buckets.
    cpu.storeRelease32(mmu.pageHashWord, span);
  } finally {
    cpu.mutexUnlock(slotsArchLock);
  }
}

/** Address of the buckets, 0 before they are allocated. Acquire pairs with the release in `kvmMmuAllocPageHash`. */
function pageHash(mmu: ShadowMmu, cpu: Cpu): Address {
  return cpu.loadAcquire32(mmu.pageHashWord) as Address;
}

/** `kvm_get_mmu_page_hash`: address of the u32 head of a gfn's bucket; 0 while there is no hash, which is as good as empty. */
export function kvmGetMmuPageHash(mmu: ShadowMmu, cpu: Cpu, gfn: Gfn): Address {
  const hash = pageHash(mmu, cpu);
  return hash === NULL_ADDRESS ? hash : offset(hash, kvmPageTableHashfn(gfn) * BUCKET_BYTES);
}

/** First page of a gfn's bucket, or `NO_PAGE`. Held: `mmu_lock` in any mode, also while the chain is followed. */
export function firstHashedSp(mmu: ShadowMmu, cpu: Cpu, gfn: Gfn): KvmMmuPage {
  const bucket = kvmGetMmuPageHash(mmu, cpu, gfn);
  return bucket === NULL_ADDRESS ? NO_PAGE : (cpu.readOnce32(bucket) as KvmMmuPage);
}

/** The page behind `sp` in its bucket, or `NO_PAGE`. */
export function nextHashedSp(cpu: Cpu, sp: KvmMmuPage): KvmMmuPage {
  return cpu.readOnce32(hashNextWord(sp)) as KvmMmuPage;
}

/** `hlist_add_head`: puts a page in front of its bucket. Held: `mmu_lock` for write. */
export function hashSp(cpu: Cpu, bucket: Address, sp: KvmMmuPage): void {
  const first = cpu.readOnce32(bucket) as KvmMmuPage;
  cpu.writeOnce32(hashNextWord(sp), first);
  cpu.writeOnce32(hashPreviousWord(sp), bucket);
  if (first !== NO_PAGE) cpu.writeOnce32(hashPreviousWord(first), hashNextWord(sp));
  cpu.writeOnce32(bucket, sp);
}

/** `hlist_del`: takes a page out of its bucket. Held: `mmu_lock` for write. */
export function unhashSp(cpu: Cpu, sp: KvmMmuPage): void {
  const next = nextHashedSp(cpu, sp);
  const previousWord = cpu.readOnce32(hashPreviousWord(sp)) as Address;
  cpu.writeOnce32(previousWord, next);
  if (next !== NO_PAGE) cpu.writeOnce32(hashPreviousWord(next), previousWord);
}
