import { type Address, type Cpu, offset, RCU_HEAD_BYTES } from "@kvm-age/machine";
import type { Gfn, KvmMmuPageRole } from "@kvm-age/spte";

declare const kvmMmuPageBrand: unique symbol;

/** Address of a page-table page descriptor (`struct kvm_mmu_page`), the part of it that the TDP MMU uses. */
export type KvmMmuPage = Address & { readonly [kvmMmuPageBrand]: never };

/** Bytes of a descriptor. */
export const KVM_MMU_PAGE_BYTES = 64;

// Layout. The rcu_head comes first, so that its address is the descriptor's.
const SPT = RCU_HEAD_BYTES;
const ROLE = RCU_HEAD_BYTES + 4;
const GFN = RCU_HEAD_BYTES + 8;
const PTEP = RCU_HEAD_BYTES + 16;
const ROOT_COUNT = RCU_HEAD_BYTES + 20;
const SCHEDULED_ROOT_TO_ZAP = RCU_HEAD_BYTES + 24;
const NX_HUGE_PAGE_DISALLOWED = RCU_HEAD_BYTES + 28;
const LINK = RCU_HEAD_BYTES + 32;
const POSSIBLE_NX_NEXT = RCU_HEAD_BYTES + 36;
const POSSIBLE_NX_PREVIOUS = RCU_HEAD_BYTES + 40;

/** u32 `spt`: the frame with the 512 entries. */
export function sptWord(sp: KvmMmuPage): Address {
  return offset(sp, SPT);
}

/** u32 `role.word`. Constant but for the invalid bit of a root, which changes under `mmu_lock` held for write. */
export function roleWord(sp: KvmMmuPage): Address {
  return offset(sp, ROLE);
}

/** u64 `gfn`: first frame covered; 0 for a root. */
export function gfnWord(sp: KvmMmuPage): Address {
  return offset(sp, GFN);
}

/** u32 `ptep`: the entry that points here; 0 for a root. */
export function ptepWord(sp: KvmMmuPage): Address {
  return offset(sp, PTEP);
}

/** u32 `tdp_mmu_root_count`: references to a root. */
export function rootCountWord(sp: KvmMmuPage): Address {
  return offset(sp, ROOT_COUNT);
}

/** u32 `tdp_mmu_scheduled_root_to_zap`: 1 between invalidation and zap. Under `slots_lock`. */
export function scheduledRootToZapWord(sp: KvmMmuPage): Address {
  return offset(sp, SCHEDULED_ROOT_TO_ZAP);
}

/** u32 `nx_huge_page_disallowed`: 1 while the table exists only for the NX-huge-page mitigation. */
export function nxHugePageDisallowedWord(sp: KvmMmuPage): Address {
  return offset(sp, NX_HUGE_PAGE_DISALLOWED);
}

/** u32: next root of the list `tdp_mmu_roots`. */
export function rootLinkWord(sp: KvmMmuPage): Address {
  return offset(sp, LINK);
}

/** u32: next table of `possible_nx_huge_pages`. Under `tdp_mmu_pages_lock`. */
export function possibleNxNextWord(sp: KvmMmuPage): Address {
  return offset(sp, POSSIBLE_NX_NEXT);
}

/** u32: previous table of `possible_nx_huge_pages`, 0 at the head. Under `tdp_mmu_pages_lock`. */
export function possibleNxPreviousWord(sp: KvmMmuPage): Address {
  return offset(sp, POSSIBLE_NX_PREVIOUS);
}

/** The frame of the table's entries. Constant while the table is reachable. */
export function spSpt(cpu: Cpu, sp: KvmMmuPage): Address {
  return cpu.readOnce32(sptWord(sp)) as Address;
}

/** The role word. For a root without `mmu_lock` the invalid bit may be stale either way. */
export function spRole(cpu: Cpu, sp: KvmMmuPage): KvmMmuPageRole {
  return cpu.readOnce32(roleWord(sp)) as KvmMmuPageRole;
}

/** First frame the table covers. */
export function spGfn(cpu: Cpu, sp: KvmMmuPage): Gfn {
  return Number(cpu.readOnce(gfnWord(sp))) as Gfn;
}
