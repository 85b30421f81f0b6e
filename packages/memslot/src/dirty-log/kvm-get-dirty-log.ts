import type { Cpu } from "@kvm-age/machine";
import type { Memslots } from "../memslots/memslots.js";
import type { SecondaryMmu } from "../notifier/secondary-mmu.js";
import { type Slot, slotDirtyBitmap } from "../slot/slot.js";
import { dirtyBitmapWords, liveWord, PAGES_PER_WORD, scratchWord } from "./dirty-bitmap.js";
import { findLoggedSlot } from "./find-logged-slot.js";

/** Copies the live half as it is: with manual protection the reader clears it later, page by page. */
function copyLive(cpu: Cpu, slot: Slot, log: BigUint64Array): void {
  const bitmap = slotDirtyBitmap(cpu, slot);
  for (let index = 0; index < log.length; index++) log[index] = cpu.readOnce(liveWord(bitmap, index));
}

/** Moves the live half to the scratch half and re-arms what was set. Returns whether anything was. */
function harvest(memslots: Memslots, cpu: Cpu, mmu: SecondaryMmu, slot: Slot): boolean {
  const { mmuLock } = memslots.locks;
  const bitmap = slotDirtyBitmap(cpu, slot);
  const words = dirtyBitmapWords(cpu, slot);
  let flush = false;
  cpu.writeLock(mmuLock);
  for (let index = 0; index < words; index++) {
    const live = liveWord(bitmap, index);
    let mask = 0n;
    if (cpu.readOnce(live) !== 0n) {
      // The exchange takes the bits before W is removed: a write after it faults and sets its bit anew.
      mask = cpu.xchg(live, 0n, "full");
      flush = true;
      mmu.enableLogDirtyPtMasked(cpu, slot, index * PAGES_PER_WORD, mask);
    }
    cpu.writeOnce(scratchWord(cpu, slot, bitmap, index), mask);
  }
  cpu.writeUnlock(mmuLock);
  return flush;
}

/** What of a slot was written since the last harvest: bit i of word w is page 64 w + i. */
export type DirtyLog = BigUint64Array<ArrayBuffer>;

/**
 * `KVM_GET_DIRTY_LOG`: the slot's dirty pages. Unless dirty logs are protected manually it clears them,
 * write-protects those pages again and flushes, so that a page reported clean has no writable mapping.
 *
 * @param slotArg address space in bits 31:16, id in bits 15:0
 * @throws MemslotError EINVAL or ENOENT
 */
export function kvmGetDirtyLog(memslots: Memslots, cpu: Cpu, mmu: SecondaryMmu, slotArg: number): DirtyLog {
  const { slotsLock } = memslots.locks;
  cpu.mutexLock(slotsLock);
  try {
    const slot = findLoggedSlot(memslots, cpu, slotArg);
    const log = new BigUint64Array(dirtyBitmapWords(cpu, slot));
    mmu.syncDirtyLog(cpu, slot);
    if (memslots.options.dirtyLogManualProtect) {
      copyLive(cpu, slot, log);
      return log;
    }
    if (harvest(memslots, cpu, mmu, slot)) mmu.flushRemoteTlbsMemslot(cpu, slot);
    const bitmap = slotDirtyBitmap(cpu, slot);
    for (let index = 0; index < log.length; index++) {
      log[index] = cpu.readOnce(scratchWord(cpu, slot, bitmap, index));
    }
    return log;
  } finally {
    cpu.mutexUnlock(slotsLock);
  }
}
