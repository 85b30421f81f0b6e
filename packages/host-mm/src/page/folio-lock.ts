import type { Cpu } from "@kvm-age/machine";
import type { MemMap, Page } from "./mem-map.js";
import { PG_LOCKED } from "./page-state.js";

// As in the kernel, the lock validator does not know folio locks; that waiting for one may sleep, it does. Whoever holds a page-table
// lock only tries.

const NOT_LOCKED = BigInt.asUintN(64, ~PG_LOCKED);

/** `folio_trylock`: false if somebody holds the lock. Acquire, pairing with `folioUnlock`. */
export function folioTrylock(memMap: MemMap, cpu: Cpu, folio: Page): boolean {
  const word = memMap.stateWord(folio);
  return (cpu.fetchOr(word, PG_LOCKED, "acquire") & PG_LOCKED) === 0n;
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
  cpu.fetchAnd(memMap.stateWord(folio), NOT_LOCKED, "release");
}
