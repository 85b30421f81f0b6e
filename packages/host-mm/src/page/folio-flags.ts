import type { Cpu } from "@kvm-age/machine";
import type { MemMap, Page } from "./mem-map.js";

/** `folio_test_*`: whether any of `flags` is set. */
export function folioTest(memMap: MemMap, cpu: Cpu, folio: Page, flags: bigint): boolean {
  return (memMap.readState(cpu, folio) & flags) !== 0n;
}

/** `folio_set_*`: sets `flags`; the other bits of the word may change meanwhile and are kept. */
export function folioSet(memMap: MemMap, cpu: Cpu, folio: Page, flags: bigint): void {
  cpu.fetchOr(memMap.stateWord(folio), flags, "relaxed");
}

/** `folio_clear_*`: clears `flags`; the other bits of the word may change meanwhile and are kept. */
export function folioClear(memMap: MemMap, cpu: Cpu, folio: Page, flags: bigint): void {
  cpu.fetchAnd(memMap.stateWord(folio), BigInt.asUintN(64, ~flags), "relaxed");
}

/** `folio_test_set_*`: sets `flag`; whether it was set before. One step, so of two callers only one sees false. */
export function folioTestSet(memMap: MemMap, cpu: Cpu, folio: Page, flag: bigint): boolean {
  return (cpu.fetchOr(memMap.stateWord(folio), flag, "full") & flag) !== 0n;
}

/** `folio_test_clear_*`: clears `flag`; whether it was set before. One step, so of two callers only one sees true. */
export function folioTestClear(memMap: MemMap, cpu: Cpu, folio: Page, flag: bigint): boolean {
  return (cpu.fetchAnd(memMap.stateWord(folio), BigInt.asUintN(64, ~flag), "full") & flag) !== 0n;
}
