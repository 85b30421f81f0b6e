import type { Cpu } from "@kvm-age/machine";
import { gfnToHva, kvmIsErrorHva } from "@kvm-age/memslot";
import type { Gfn } from "@kvm-age/spte";
import type { Vm } from "../vm/vm.js";

const ADDRESS_MASK = 0xf_ffff_ffff_f000n;
const PAGE_SIZE_BIT = 1n << 7n;
const NO_EXECUTE = 1n << 63n;
const ROOT_LEVEL = 4;

/** How the entries of a kind of guest table are read. */
export interface GuestEntryFormat {
  /** Any of these bits: present. */
  readonly present: bigint;
  readonly write: bigint;
  /** Set in entries that allow instruction fetches; 0 if only `NO_EXECUTE` forbids them. */
  readonly execute: bigint;
  /** Set by hardware in the leaf of a write; 0 if that is not maintained. */
  readonly dirty: bigint;
}

export const LONG_MODE_ENTRIES: GuestEntryFormat = { present: 1n, write: 2n, execute: 0n, dirty: 1n << 6n };
export const EPT_ENTRIES: GuestEntryFormat = { present: 7n, write: 2n, execute: 4n, dirty: 0n };

/** What a guest's tables say about one page. */
export interface GuestTranslation {
  readonly gfn: number;
  readonly write: boolean;
  readonly execute: boolean;
}

function readEntry(vm: Vm, cpu: Cpu, gpa: number): bigint | null {
  const gfn = Math.floor(gpa / 4096) as Gfn;
  const hva = gfnToHva(cpu, vm.memslots.gfnToMemslot(cpu, 0, gfn), gfn, false);
  if (kvmIsErrorHva(hva)) return null;
  return vm.hostMm.loadUser(cpu, (hva + (gpa % 4096)) as typeof hva, 8, false);
}

/**
 * Walks a guest's four-level tables for a page, changing nothing. Written anew for checking: it shares no code with the MMUs.
 *
 * @param page address divided by 4096
 * @returns null if the page is not mapped
 */
export function walkGuestTables(
  vm: Vm,
  cpu: Cpu,
  format: GuestEntryFormat,
  rootGpa: number,
  page: number,
): GuestTranslation | null {
  let table = rootGpa;
  let write = true;
  let execute = true;
  for (let level = ROOT_LEVEL; ; level--) {
    const span = 512 ** (level - 1);
    const entry = readEntry(vm, cpu, table + (Math.floor(page / span) % 512) * 8);
    if (entry === null || (entry & format.present) === 0n) return null;
    write &&= (entry & format.write) !== 0n;
    execute &&= (entry & format.execute) === format.execute && (entry & NO_EXECUTE) === 0n;
    table = Number(entry & ADDRESS_MASK);
    if (level > 1 && (level > 3 || (entry & PAGE_SIZE_BIT) === 0n)) continue;
    const gfn = Math.floor(table / 4096 / span) * span + (page % span);
    return { gfn, write: write && (entry & format.dirty) === format.dirty, execute };
  }
}
