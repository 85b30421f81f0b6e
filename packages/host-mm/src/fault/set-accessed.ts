import type { Address, Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { PAGE_ACCESSED, PAGE_DIRTY, PAGE_RW } from "../page-table/pte.js";
import { FaultResult } from "./fault-result.js";

/** Bits that a fault adds to a present entry. Every page or frame belongs to this mm alone, so a write makes it writable. */
function bitsOf(write: boolean): bigint {
  return write ? PAGE_ACCESSED | PAGE_DIRTY | PAGE_RW : PAGE_ACCESSED;
}

/**
 * The end of `handle_pte_fault` for a present PTE: Accessed, and for a write Dirty and writable (`wp_page_reuse`). An entry that
 * changed since it was read is another fault's success, or an unmap: look again.
 */
export function pteSetAccessed(
  mm: MmStruct,
  cpu: Cpu,
  pte: Address,
  seen: bigint,
  write: boolean,
): FaultResult {
  const lock = mm.pageTables.pteLock(cpu, pte);
  cpu.spinLock(lock);
  if (cpu.readOnce(pte) === seen) cpu.fetchOr(pte, bitsOf(write), "relaxed");
  cpu.spinUnlock(lock);
  return FaultResult.done;
}

/** `huge_pmd_set_accessed` and `do_huge_pmd_wp_page`: the same for a 2 MiB leaf. */
export function pmdSetAccessed(
  mm: MmStruct,
  cpu: Cpu,
  pmd: Address,
  seen: bigint,
  write: boolean,
): FaultResult {
  const lock = mm.pageTables.lockPmd(cpu, pmd);
  if (cpu.readOnce(pmd) === seen) cpu.fetchOr(pmd, bitsOf(write), "relaxed");
  cpu.spinUnlock(lock);
  return FaultResult.done;
}
