import {
  type Gfn,
  isRsvdSpte,
  kvmPagesPerHpage,
  type PgLevel,
  type Spte,
  type SpteFormat,
} from "@kvm-age/spte";
import type { GuestWalker } from "./guest-walker.js";

/** An entry of a guest's own page table, as the guest wrote it: any 64 bits. */
export type Gpte = bigint;

const WRITABLE = 1n << 1n;
const USER = 1n << 2n;
const EPT_EXECUTABLE = 1n << 2n;
const EPT_USER_EXECUTABLE = 1n << 10n;
const PAGE_SIZE_BIT = 1n << 7n;
const NX = 1n << 63n;
/** Pages that the frame field, bits 51:12, can name. */
const FRAME_BITS = 40;

function has(gpte: Gpte, mask: bigint): boolean {
  return BigInt.asUintN(64, gpte & mask) !== 0n;
}

/** `is_present_gpte`. */
export function isPresentGpte(walker: GuestWalker, gpte: Gpte): boolean {
  return has(gpte, walker.presentMask);
}

/** `is_last_gpte`: the entry ends the walk. Bit 7 where no large page may be is a reserved bit and was found before. */
export function isLastGpte(gpte: Gpte, level: PgLevel): boolean {
  return level === 1 || has(gpte, PAGE_SIZE_BIT);
}

/** `is_rsvd_bits_set`: the entry has a reserved bit, or for EPT a misconfigured memory type or combination of permissions. */
export function isRsvdBitsSet(format: SpteFormat, walker: GuestWalker, gpte: Gpte, level: PgLevel): boolean {
  return isRsvdSpte(format, walker.rsvdBits, gpte as Spte, level);
}

/**
 * `gpte_access`: what a present entry allows, in the rule set's access bits. EPT: where reading is no access bit of its own, USER
 * stands for it; where it is, USER is bit 10, whether or not L1 enabled mode-based control.
 */
export function gpteAccess(format: SpteFormat, walker: GuestWalker, gpte: Gpte): number {
  const { accReadMask, accWriteMask, accUserMask, accExecMask } = format.rules;
  const write = has(gpte, WRITABLE) ? accWriteMask : 0;
  if (!walker.ept) {
    return accReadMask | write | (has(gpte, USER) ? accUserMask : 0) | (has(gpte, NX) ? 0 : accExecMask);
  }
  const readable = has(gpte, 1n);
  const user = accReadMask === 0 ? readable : has(gpte, EPT_USER_EXECUTABLE);
  const exec = has(gpte, EPT_EXECUTABLE) ? accExecMask : 0;
  return (readable ? accReadMask : 0) | write | (user ? accUserMask : 0) | exec;
}

/** `gpte_to_gfn`: the frame of the table or page, bits 51:12. */
export function gpteToGfn(gpte: Gpte): Gfn {
  return Number(BigInt.asUintN(FRAME_BITS, BigInt.asUintN(64, gpte) >> 12n)) as Gfn;
}

/** `gpte_to_gfn_lvl`: the first frame of the page that a leaf of `level` maps; address bits inside the page are dropped. */
export function gpteToGfnLvl(gpte: Gpte, level: PgLevel): Gfn {
  const gfn = gpteToGfn(gpte);
  return (gfn - (gfn % kvmPagesPerHpage(level))) as Gfn;
}

/**
 * `protect_clean_gpte`: takes WRITE from the access to a page whose entry is clean, so that the first write faults and sets Dirty.
 * Tables without Dirty bits lose nothing.
 */
export function protectCleanGpte(
  format: SpteFormat,
  walker: GuestWalker,
  access: number,
  gpte: Gpte,
): number {
  return isDirtyGpte(walker, gpte) ? access : access & ~format.rules.accWriteMask;
}

/** Whether Dirty is set, or there is no such bit. */
export function isDirtyGpte(walker: GuestWalker, gpte: Gpte): boolean {
  return walker.dirtyMask === 0n || has(gpte, walker.dirtyMask);
}

/** Whether Accessed is set, or there is no such bit. */
export function isAccessedGpte(walker: GuestWalker, gpte: Gpte): boolean {
  return walker.accessedMask === 0n || has(gpte, walker.accessedMask);
}

/**
 * The condition of `prefetch_invalid_gpte`: a leaf of level 1 that hardware would not have cached, so that no SPTE may stand for it:
 * not present, not accessed, or with reserved bits.
 */
export function isPrefetchInvalidGpte(format: SpteFormat, walker: GuestWalker, gpte: Gpte): boolean {
  if (!isPresentGpte(walker, gpte) || !isAccessedGpte(walker, gpte)) return true;
  return isRsvdBitsSet(format, walker, gpte, 1);
}
