import { type Address, type Cpu, offset } from "@kvm-age/machine";
import type { KvmRmapHead } from "@kvm-age/rmap";
import type { Gfn, KvmMmuPageRole } from "@kvm-age/spte";

declare const shadowPageBrand: unique symbol;

/** Address of a shadow page's descriptor (`struct kvm_mmu_page`), the part of it that the shadow MMU uses. */
export type KvmMmuPage = Address & { readonly [shadowPageBrand]: never };

/** No shadow page. */
export const NO_PAGE = 0 as KvmMmuPage;

/** Entries of a table. */
export const SPTE_ENT_PER_PAGE = 512;

// Layout. What a lookup reads comes first.
const GFN = 0;
const ROLE = 8;
const SPT = 12;
const HASH_NEXT = 16;
const HASH_PREVIOUS = 20;
const LINK_NEXT = 24;
const LINK_PREVIOUS = 28;
const PARENT_PTES = 32;
const SHADOWED_TRANSLATION = 40;
const ROOT_COUNT = 44;
const UNSYNC = 48;
const UNSYNC_CHILDREN = 52;
const WRITE_FLOODING_COUNT = 56;
const MMU_VALID_GEN = 60;
const NX_HUGE_PAGE_DISALLOWED = 64;
const POSSIBLE_NX_NEXT = 68;
const POSSIBLE_NX_PREVIOUS = 72;
const UNSYNC_CHILD_BITMAP = 76;
const UNSYNC_CHILD_BITMAP_BYTES = SPTE_ENT_PER_PAGE / 8;

/** Bytes of a descriptor. */
export const KVM_MMU_PAGE_BYTES: number =
  Math.ceil((UNSYNC_CHILD_BITMAP + UNSYNC_CHILD_BITMAP_BYTES) / 8) * 8;

/** u64 `gfn`: the guest frame shadowed, or the first one mapped. Constant. */
export function gfnWord(sp: KvmMmuPage): Address {
  return offset(sp, GFN);
}

/** u32 `role.word`. Constant but for the invalid bit, set under `mmu_lock` held for write. */
export function roleWord(sp: KvmMmuPage): Address {
  return offset(sp, ROLE);
}

/** u32 `spt`: the frame with the 512 entries, whose private word leads back here. Constant. */
export function sptWord(sp: KvmMmuPage): Address {
  return offset(sp, SPT);
}

/** u32 `hash_link.next`. */
export function hashNextWord(sp: KvmMmuPage): Address {
  return offset(sp, HASH_NEXT);
}

/** u32 `hash_link.pprev`: address of the word that points here, 0 while unhashed. */
export function hashPreviousWord(sp: KvmMmuPage): Address {
  return offset(sp, HASH_PREVIOUS);
}

/** u32 `link.next` in `active_mmu_pages`, newest first. */
export function linkNextWord(sp: KvmMmuPage): Address {
  return offset(sp, LINK_NEXT);
}

/** u32 `link.prev`. */
export function linkPreviousWord(sp: KvmMmuPage): Address {
  return offset(sp, LINK_PREVIOUS);
}

/** `parent_ptes`: rmap head of the entries that point to this table. */
export function parentPtes(sp: KvmMmuPage): KvmRmapHead {
  return offset(sp, PARENT_PTES) as KvmRmapHead;
}

/** u32 `shadowed_translation`: frame of 512 words `(gfn << 12) | access`, or 0. Constant. */
export function shadowedTranslationWord(sp: KvmMmuPage): Address {
  return offset(sp, SHADOWED_TRANSLATION);
}

/** u32 `root_count`: vCPU contexts that have the table as a root. Under `mmu_lock` held for write. */
export function rootCountWord(sp: KvmMmuPage): Address {
  return offset(sp, ROOT_COUNT);
}

/** u32 `unsync`: 1 while the table may differ from the guest's. 1 → 0 only under `mmu_lock` held for write. */
export function unsyncWord(sp: KvmMmuPage): Address {
  return offset(sp, UNSYNC);
}

/** u32 `unsync_children`: bits set in the bitmap. */
export function unsyncChildrenWord(sp: KvmMmuPage): Address {
  return offset(sp, UNSYNC_CHILDREN);
}

/** u32 `write_flooding_count`: guest writes to the shadowed table since it was last used. */
export function writeFloodingCountWord(sp: KvmMmuPage): Address {
  return offset(sp, WRITE_FLOODING_COUNT);
}

/** u32 `mmu_valid_gen`: the VM's generation when the page was made, 0 or 1. Constant. */
export function mmuValidGenWord(sp: KvmMmuPage): Address {
  return offset(sp, MMU_VALID_GEN);
}

/** u32 `nx_huge_page_disallowed`: 1 while the table exists only for the NX-huge-page mitigation. */
export function nxHugePageDisallowedWord(sp: KvmMmuPage): Address {
  return offset(sp, NX_HUGE_PAGE_DISALLOWED);
}

/** u32: the table behind this one in `possible_nx_huge_pages`. */
export function possibleNxNextWord(sp: KvmMmuPage): Address {
  return offset(sp, POSSIBLE_NX_NEXT);
}

/** u32: the table before this one in `possible_nx_huge_pages`. */
export function possibleNxPreviousWord(sp: KvmMmuPage): Address {
  return offset(sp, POSSIBLE_NX_PREVIOUS);
}

/** u32 number `index` / 32 of `unsync_child_bitmap`: entries that lead to unsync pages. */
export function unsyncChildBitmapWord(sp: KvmMmuPage, index: number): Address {
  return offset(sp, UNSYNC_CHILD_BITMAP + (index >>> 5) * 4);
}

/** The guest frame shadowed, or the first one mapped. */
export function spGfn(cpu: Cpu, sp: KvmMmuPage): Gfn {
  return Number(cpu.readOnce(gfnWord(sp))) as Gfn;
}

/** The role word. */
export function spRole(cpu: Cpu, sp: KvmMmuPage): KvmMmuPageRole {
  return cpu.readOnce32(roleWord(sp)) as KvmMmuPageRole;
}

/** The frame of the table's entries. */
export function spSpt(cpu: Cpu, sp: KvmMmuPage): Address {
  return cpu.readOnce32(sptWord(sp)) as Address;
}

/** Address of entry `index`, 0 … 511. */
export function spSptep(cpu: Cpu, sp: KvmMmuPage, index: number): Address {
  return offset(spSpt(cpu, sp), index * 8);
}

/** `spte_index`: which entry of its table an entry is. */
export function sptepIndex(sptep: Address): number {
  return (sptep >>> 3) & (SPTE_ENT_PER_PAGE - 1);
}
