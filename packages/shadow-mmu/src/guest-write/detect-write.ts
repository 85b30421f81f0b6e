import type { Cpu } from "@kvm-age/machine";
import { PG_LEVEL_4K, roleLevel } from "@kvm-age/spte";
import { type KvmMmuPage, spRole, writeFloodingCountWord } from "../page/kvm-mmu-page.js";

const PAGE_BYTES = 4096;
const GPTE_BYTES = 8;
/** Writes since its last use at which a table is taken for one that is no table any more. */
const FLOODED = 3;

/**
 * `detect_write_misaligned`: the write is none of a whole entry or of one half, so the page is hardly a page table any more: it crosses
 * an entry, or is shorter than four bytes. One byte at the start of an entry is a bit operation on its flags.
 *
 * @param gpa in bytes
 * @param bytes 1 or more
 */
export function detectWriteMisaligned(gpa: number, bytes: number): boolean {
  const offset = gpa % PAGE_BYTES;
  if (offset % GPTE_BYTES === 0 && bytes === 1) return false;
  const crosses = Math.floor(offset / GPTE_BYTES) !== Math.floor((offset + bytes - 1) / GPTE_BYTES);
  return crosses || bytes < 4;
}

/**
 * `detect_write_flooding`: counts the write; whether the table is written again and again without being used. Tables of 4 KiB entries
 * become unsync instead. Held: `mmu_lock` for write; a lockless clear may come between, and then the count starts anew.
 */
export function detectWriteFlooding(cpu: Cpu, sp: KvmMmuPage): boolean {
  if (roleLevel(spRole(cpu, sp)) === PG_LEVEL_4K) return false;
  return cpu.fetchAdd32(writeFloodingCountWord(sp), 1, "relaxed") + 1 >= FLOODED;
}
