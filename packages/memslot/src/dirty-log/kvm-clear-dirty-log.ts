import type { Cpu } from "@kvm-age/machine";
import { MemslotError } from "../errors.js";
import type { Memslots } from "../memslots/memslots.js";
import type { SecondaryMmu } from "../notifier/secondary-mmu.js";
import { type Slot, slotDirtyBitmap, slotNpages } from "../slot/slot.js";
import { liveWord, PAGES_PER_WORD, scratchWord } from "./dirty-bitmap.js";
import { findLoggedSlot } from "./find-logged-slot.js";

/** Argument of `KVM_CLEAR_DIRTY_LOG` (kernel `struct kvm_clear_dirty_log`). */
export interface KvmClearDirtyLog {
  /** Address space in bits 31:16, id in bits 15:0. */
  readonly slot: number;
  /** First page, relative to the slot; a multiple of 64. */
  readonly firstPage: number;
  /** Pages; a multiple of 64 unless they reach the end of the slot. */
  readonly numPages: number;
  /** Pages to clear: bit i of word w is page `firstPage` + 64 w + i. At least `numPages` bits. */
  readonly dirtyBitmap: BigUint64Array;
}

function refuse(what: string, value: number, allowed: string): never {
  throw new MemslotError("EINVAL", `${what} is ${value}, allowed: ${allowed}`);
}

function checkRange(npages: number, log: KvmClearDirtyLog): void {
  const { firstPage, numPages } = log;
  const inSlot = firstPage >= 0 && firstPage <= npages;
  if (!inSlot) refuse("first_page", firstPage, `multiples of 64 in [0, ${npages}]`);
  const rest = npages - firstPage;
  if (!(Number.isInteger(numPages) && numPages >= 0 && numPages <= rest)) {
    refuse("num_pages", numPages, `[0, ${rest}]`);
  }
  if (numPages < rest && numPages % PAGES_PER_WORD !== 0) {
    refuse("num_pages", numPages, `multiples of 64 or ${rest}`);
  }
  const words = Math.ceil(numPages / PAGES_PER_WORD);
  if (log.dirtyBitmap.length < words)
    refuse("words of the bitmap", log.dirtyBitmap.length, `at least ${words}`);
}

/** Clears what the scratch half asks for and re-arms what was really set. Returns whether anything was. */
function clearAndRearm(
  memslots: Memslots,
  cpu: Cpu,
  mmu: SecondaryMmu,
  slot: Slot,
  log: KvmClearDirtyLog,
): boolean {
  const { mmuLock } = memslots.locks;
  const bitmap = slotDirtyBitmap(cpu, slot);
  const firstWord = log.firstPage / PAGES_PER_WORD;
  const words = Math.ceil(log.numPages / PAGES_PER_WORD);
  let flush = false;
  cpu.writeLock(mmuLock);
  for (let index = 0; index < words; index++) {
    const wanted = cpu.readOnce(scratchWord(cpu, slot, bitmap, index));
    if (wanted === 0n) continue;
    // Bits that others set meanwhile stay; of ours, only those that were set need protection again.
    const live = liveWord(bitmap, firstWord + index);
    const mask = wanted & cpu.fetchAnd(live, BigInt.asUintN(64, ~wanted), "full");
    if (mask === 0n) continue;
    flush = true;
    mmu.enableLogDirtyPtMasked(cpu, slot, (firstWord + index) * PAGES_PER_WORD, mask);
  }
  cpu.writeUnlock(mmuLock);
  return flush;
}

/**
 * `KVM_CLEAR_DIRTY_LOG`: clears pages of the log, write-protects them again and flushes.
 *
 * @throws MemslotError EINVAL or ENOENT
 */
export function kvmClearDirtyLog(
  memslots: Memslots,
  cpu: Cpu,
  mmu: SecondaryMmu,
  log: KvmClearDirtyLog,
): void {
  const { slotsLock } = memslots.locks;
  cpu.mutexLock(slotsLock);
  try {
    const slot = findLoggedSlot(memslots, cpu, log.slot);
    if (log.firstPage % PAGES_PER_WORD !== 0) refuse("first_page", log.firstPage, "multiples of 64");
    checkRange(slotNpages(cpu, slot), log);
    mmu.syncDirtyLog(cpu, slot);
    const bitmap = slotDirtyBitmap(cpu, slot);
    const words = Math.ceil(log.numPages / PAGES_PER_WORD);
    for (let index = 0; index < words; index++) {
      cpu.writeOnce(scratchWord(cpu, slot, bitmap, index), log.dirtyBitmap[index]!);
    }
    if (clearAndRearm(memslots, cpu, mmu, slot, log)) mmu.flushRemoteTlbsMemslot(cpu, slot);
  } finally {
    cpu.mutexUnlock(slotsLock);
  }
}
