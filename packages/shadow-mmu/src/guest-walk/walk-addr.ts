import type { Cpu } from "@kvm-age/machine";
import { PFERR_RSVD_MASK } from "@kvm-age/page-fault";
import {
  type Gfn,
  kvmPagesPerHpage,
  PFERR_FETCH_MASK,
  PFERR_PRESENT_MASK,
  PFERR_USER_MASK,
  PFERR_WRITE_MASK,
  type PgLevel,
  PT32E_ROOT_LEVEL,
} from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import { traceKvmMmuPagetableWalk, traceKvmMmuPagingElement } from "../trace/trace-guest-walk.js";
import type { KvmMmu } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import {
  type Gpte,
  gpteAccess,
  gpteToGfn,
  gpteToGfnLvl,
  isAccessedGpte,
  isDirtyGpte,
  isLastGpte,
  isPresentGpte,
  isRsvdBitsSet,
  protectCleanGpte,
} from "./gpte.js";
import { readGuestTable } from "./guest-table.js";
import { GuestWalk } from "./guest-walk.js";
import { walkerOf } from "./guest-walker.js";
import { updateAccessedDirtyBits } from "./update-accessed-dirty-bits.js";
import { walkerError } from "./walker-error.js";

const PAGE_BYTES = 4096;
const PDPTE_SPAN = 2 ** 30;
/** L2's tables are read, and A and D written, by a user access of the second dimension. */
const NESTED_TABLE_ACCESS = PFERR_WRITE_MASK | PFERR_USER_MASK;
const ACCESS_MASK = PFERR_WRITE_MASK | PFERR_USER_MASK | PFERR_FETCH_MASK;
/** Causes of an error that is not a permission fault, in error-code bits. */
const NOT_PRESENT = 0;
const RESERVED = PFERR_RSVD_MASK | PFERR_PRESENT_MASK;

/** The entry that names the first table in memory: the root register, or the PDPTE of the address. Null if that is not present. */
function rootEntry(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu, walk: GuestWalk): Gpte | null {
  const { level } = walk.walker;
  walk.maxLevel = level;
  if (level !== PT32E_ROOT_LEVEL) return cpu.readOnce(context.guestPgdWord);
  const pdpte = cpu.readOnce(context.pdptrWord(Math.floor(walk.addr / PDPTE_SPAN) % 4));
  if (cpu.tracing) traceKvmMmuPagingElement(cpu, pdpte, level);
  if (!isPresentGpte(walk.walker, pdpte)) {
    walkerError(mmu.format, cpu, walk, NOT_PRESENT);
    return null;
  }
  walk.maxLevel = (level - 1) as PgLevel;
  return pdpte;
}

/** `kvm_translate_gpa`: where a frame of the walked address space is in the slots' memory; null if L1's tables do not map it for that access. */
function translateGfn(walk: GuestWalk, gfn: Gfn, access: number): Gfn | null {
  if (walk.translateGpa === null) return gfn;
  const gpa = walk.translateGpa(gfn * PAGE_BYTES, access);
  if (typeof gpa === "number") return Math.floor(gpa / PAGE_BYTES) as Gfn;
  walk.fault = gpa;
  return null;
}

/** Reads one entry and adds it to the walk. False if it ends in a fault. */
function walkLevel(mmu: ShadowMmu, cpu: Cpu, walk: GuestWalk, level: PgLevel, above: Gpte): boolean {
  const { format } = mmu;
  const { walker } = walk;
  const tableGfn = gpteToGfn(above);
  const realGfn = translateGfn(walk, tableGfn, NESTED_TABLE_ACCESS);
  if (realGfn === null) return false;
  const gpte = readGuestTable(mmu, cpu, walk, level, tableGfn, realGfn);
  if (gpte === null) {
    walkerError(format, cpu, walk, NOT_PRESENT);
    return false;
  }
  if (cpu.tracing) traceKvmMmuPagingElement(cpu, gpte, level);
  walk.eptPermissions &= gpte;
  if (!isPresentGpte(walker, gpte)) {
    walkerError(format, cpu, walk, NOT_PRESENT);
    return false;
  }
  if (isRsvdBitsSet(format, walker, gpte, level)) {
    walkerError(format, cpu, walk, RESERVED);
    return false;
  }
  walk.level = level;
  walk.ptes[level] = gpte;
  walk.ptAccess[level] = walk.pteAccess;
  walk.pteAccess &= gpteAccess(format, walker, gpte);
  walk.accessed &&= isAccessedGpte(walker, gpte);
  return true;
}

/** Walks down to the leaf. False if the walk ends in a fault. */
function walkToLeaf(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu, walk: GuestWalk): boolean {
  walk.pteAccess = mmu.format.rules.accAll;
  walk.eptPermissions = 2n ** 64n - 1n;
  walk.accessed = true;
  let entry = rootEntry(mmu, cpu, context, walk);
  if (entry === null) return false;
  for (let level = walk.maxLevel; ; level--) {
    if (!walkLevel(mmu, cpu, walk, level as PgLevel, entry)) return false;
    entry = walk.ptes[level]!;
    if (isLastGpte(entry, level as PgLevel)) return true;
  }
}

/**
 * `permission_fault`: whether the access is forbidden by what the entries allow. EFLAGS.AC is clear in this house, so SMAP applies
 * to every supervisor access, and PKRU is 0, so a protection key denies nothing.
 */
function permissionFault(walk: GuestWalk): boolean {
  const word = walk.walker.permissions[walk.access >> 1]!;
  return ((word >> walk.pteAccess) & 1) !== 0;
}

/** Whether A is missing in an entry of the walk or, for a write, D in the leaf. */
function needsAccessedDirty(walk: GuestWalk): boolean {
  const writes = (walk.access & PFERR_WRITE_MASK) !== 0;
  return !walk.accessed || (writes && !isDirtyGpte(walk.walker, walk.ptes[walk.level]!));
}

/** One walk from the root. False if an entry changed before its A or D bit could be set, so that it must be repeated. */
function walkOnce(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu, walk: GuestWalk): boolean {
  if (!walkToLeaf(mmu, cpu, context, walk)) return true;
  if (permissionFault(walk)) {
    walkerError(mmu.format, cpu, walk, PFERR_PRESENT_MASK);
    return true;
  }
  const { level, addr } = walk;
  const inside = Math.floor(addr / PAGE_BYTES) % kvmPagesPerHpage(level);
  const realGfn = translateGfn(
    walk,
    (gpteToGfnLvl(walk.ptes[level]!, level) + inside) as Gfn,
    walk.access | PFERR_USER_MASK,
  );
  if (realGfn === null) return true;
  walk.gfn = realGfn;
  if ((walk.access & PFERR_WRITE_MASK) === 0) {
    walk.pteAccess = protectCleanGpte(mmu.format, walk.walker, walk.pteAccess, walk.ptes[level]!);
  }
  if (!needsAccessedDirty(walk)) return true;
  const updated = updateAccessedDirtyBits(mmu, cpu, walk);
  if (updated === "fault") walkerError(mmu.format, cpu, walk, NOT_PRESENT);
  return updated !== "changed";
}

/**
 * `walk_addr`: walks the context's guest tables for one access, as hardware would: checks permissions, sets A and D in guest memory,
 * and starts over when it loses a race for that. The tables are the guest's: any value can be in them, and change at any time;
 * who uses the result under `mmu_lock` compares with `gpteChanged`. Sleeps. Held: SRCU; never `mmu_lock`.
 *
 * @param addr in bytes, an integer in [0, 2^53): guest-linear, or L2-physical in a nested context
 * @param translateGpa for L2's own tables under nested paging: how L1 maps L2-physical addresses
 * @param access page-fault error code, an integer in [0, 2^53); W, U and F are looked at, and the event shows the lower half
 */
export function walkAddr(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  context: KvmMmu,
  addr: number,
  access: number,
  translateGpa: GuestWalk["translateGpa"] = null,
): GuestWalk {
  const asId = cpu.readOnce32(vcpu.inSmmWord);
  const walk = new GuestWalk(walkerOf(mmu, cpu, context), asId, addr, access & ACCESS_MASK);
  walk.translateGpa = translateGpa;
  if (cpu.tracing) traceKvmMmuPagetableWalk(cpu, addr, (access & ~PFERR_RSVD_MASK) >>> 0);
  while (!walkOnce(mmu, cpu, context, walk)) {
    // Somebody else changed an entry, so somebody made progress.
  }
  return walk;
}
