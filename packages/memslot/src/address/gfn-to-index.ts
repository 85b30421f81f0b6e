import { type Gfn, kvmPagesPerHpage, type PgLevel } from "@kvm-age/spte";

/**
 * Position of `gfn` in an array with one element per page of `level`, in a slot that begins at `baseGfn`
 * (kernel `gfn_to_index`): both are rounded down to the level first, so an unaligned slot has a partial head.
 */
export function gfnToIndex(gfn: Gfn, baseGfn: Gfn, level: PgLevel): number {
  const pages = kvmPagesPerHpage(level);
  return Math.floor(gfn / pages) - Math.floor(baseGfn / pages);
}

/** Elements of such an array for `npages` pages, 1 or more (kernel `__kvm_mmu_slot_lpages`). */
export function slotLpages(baseGfn: Gfn, npages: number, level: PgLevel): number {
  return gfnToIndex((baseGfn + npages - 1) as Gfn, baseGfn, level) + 1;
}
