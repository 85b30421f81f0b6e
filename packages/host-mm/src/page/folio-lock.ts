import type { Cpu, LockClass } from "@kvm-age/machine";
import type { MemMap, Page } from "./mem-map.js";
import { PG_LOCKED } from "./page-state.js";

/** Lock class of `PG_locked`. */
export const FOLIO_LOCK_CLASS: LockClass = { name: "folio_lock", sleeps: true };

const NOT_LOCKED = BigInt.asUintN(64, ~PG_LOCKED);

/** `folio_trylock`: false if somebody holds the lock. Acquire, pairing with `folioUnlock`. */
export function folioTrylock(memMap: MemMap, cpu: Cpu, folio: Page): boolean {
  const word = memMap.stateWord(folio);
  if ((cpu.fetchOr(word, PG_LOCKED, "acquire") & PG_LOCKED) !== 0n) return false;
  cpu.lockdep.acquired(FOLIO_LOCK_CLASS, word);
  return true;
}

/** `__folio_set_locked`: the new folio was made with `PG_LOCKED` in its state and can be found from now on. */
export function folioSetLocked(memMap: MemMap, cpu: Cpu, folio: Page): void {
  cpu.lockdep.acquired(FOLIO_LOCK_CLASS, memMap.stateWord(folio));
}

/** `folio_lock`: waits for the lock. The caller holds a reference, so the folio stays what it is. */
export function folioLock(memMap: MemMap, cpu: Cpu, folio: Page): void {
  const word = memMap.stateWord(folio);
  cpu.lockdep.mightSleep();
  while (!folioTrylock(memMap, cpu, folio)) {
    while ((cpu.loadAcquire(word) & PG_LOCKED) !== 0n) cpu.relax(word);
  }
}

/** `folio_unlock`. Release: whoever locks next sees what was done under the lock. */
export function folioUnlock(memMap: MemMap, cpu: Cpu, folio: Page): void {
  const word = memMap.stateWord(folio);
  cpu.lockdep.released(FOLIO_LOCK_CLASS, word);
  cpu.fetchAnd(word, NOT_LOCKED, "release");
}
