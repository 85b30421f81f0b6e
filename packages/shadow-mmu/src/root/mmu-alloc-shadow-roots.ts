import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { kvmIsVisibleGfn, mmuFirstShadowRootAlloc } from "@kvm-age/memslot";
import {
  type Gfn,
  kvmMmuRoleAsId,
  makePaePdpte,
  PG_LEVEL_2M,
  PT64_ROOT_4LEVEL,
  PT64_ROOT_5LEVEL,
  roleLevel,
} from "@kvm-age/spte";
import { kvmMmuAllocPageHash } from "../hash/page-hash.js";
import { spSpt } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { KvmMmu } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { makeMmuPagesAvailable } from "../zap/make-mmu-pages-available.js";
import { mmuAllocRoot } from "./mmu-alloc-root.js";
import { usesPaeRoot } from "./mmu-alloc-special-roots.js";
import { PAE_ROOT_ENTRIES, paeRootEntryWord } from "./pae-root.js";

const PAGE_SHIFT = 12n;
/** Bits 51:12, the address in a CR3, an EPTP or a PDPTE. */
const PT_BASE_ADDR_MASK = 0x000f_ffff_ffff_f000n;
const PT_PRESENT_MASK = 1n;

function gfnOf(entry: bigint): Gfn {
  return Number(BigInt.asUintN(64, entry & PT_BASE_ADDR_MASK) >> PAGE_SHIFT) as Gfn;
}

function isVisible(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu, gfn: Gfn): boolean {
  return kvmIsVisibleGfn(mmu.memslots, cpu, kvmMmuRoleAsId(context.rootRole(cpu)), gfn);
}

/** The PDPTEs of a PAE guest, 0 for those that are not present or lead outside guest memory. */
function usablePdptes(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu): readonly bigint[] {
  return Array.from({ length: PAE_ROOT_ENTRIES }, (_, index) => {
    const pdpte = cpu.readOnce(context.pdptrWord(index));
    const usable = BigInt.asUintN(1, pdpte) === PT_PRESENT_MASK && isVisible(mmu, cpu, context, gfnOf(pdpte));
    return usable ? pdpte : 0n;
  });
}

/** Puts the array below tables of one entry where hardware has four or five levels; returns the frame it walks from. */
function rootAbovePaeRoot(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu): Address {
  const { format } = mmu;
  const level = roleLevel(context.rootRole(cpu));
  const paeRoot = cpu.readOnce32(context.paeRootWord) as Address;
  if (level < PT64_ROOT_4LEVEL) return paeRoot;
  const pml4Root = cpu.readOnce32(context.pml4RootWord) as Address;
  cpu.writeOnce(pml4Root, makePaePdpte(format, BigInt(paeRoot), true));
  if (level < PT64_ROOT_5LEVEL) return pml4Root;
  const pml5Root = cpu.readOnce32(context.pml5RootWord) as Address;
  cpu.writeOnce(pml5Root, makePaePdpte(format, BigInt(pml4Root), true));
  return pml5Root;
}

/** Four tables of level 2, one for each page directory of the guest. */
function allocPaeRoot(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  context: KvmMmu,
  pdptes: readonly bigint[],
): Address {
  const belowLongModeRoot = roleLevel(context.rootRole(cpu)) >= PT64_ROOT_4LEVEL;
  const paeRoot = cpu.readOnce32(context.paeRootWord) as Address;
  for (const [index, pdpte] of pdptes.entries()) {
    if (pdpte === 0n) continue;
    const sp = mmuAllocRoot(mmu, cpu, vcpu, context, gfnOf(pdpte), PG_LEVEL_2M);
    const entry = makePaePdpte(mmu.format, BigInt(spSpt(cpu, sp)), belowLongModeRoot);
    cpu.writeOnce(paeRootEntryWord(paeRoot, index), entry);
  }
  return rootAbovePaeRoot(mmu, cpu, context);
}

function allocUnderLock(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  context: KvmMmu,
  pdptes: readonly bigint[] | null,
): Address {
  if (!makeMmuPagesAvailable(mmu, cpu)) return NULL_ADDRESS;
  if (pdptes !== null) return allocPaeRoot(mmu, cpu, vcpu, context, pdptes);
  const rootGfn = gfnOf(cpu.readOnce(context.guestPgdWord));
  return spSpt(cpu, mmuAllocRoot(mmu, cpu, vcpu, context, rootGfn, roleLevel(context.rootRole(cpu))));
}

/**
 * `mmu_alloc_shadow_roots`: a root that shadows the guest's own. The first one of a VM gives its slots what shadow pages
 * need. A guest root outside every slot gets the dummy root, through which every access faults, and which the next fault
 * replaces. Held: SRCU; takes `slots_arch_lock`, then `mmu_lock` for write.
 *
 * @returns false if the quota of shadow pages is used up by roots (`-ENOSPC`)
 * @throws MemslotError ENOMEM, or OutOfMemoryError
 */
export function mmuAllocShadowRoots(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, context: KvmMmu): boolean {
  const guestPgd = cpu.readOnce(context.guestPgdWord);
  if (!isVisible(mmu, cpu, context, gfnOf(guestPgd))) {
    cpu.writeOnce32(context.rootHpaWord, mmu.zeroPage(cpu));
    return true;
  }
  const pdptes = usesPaeRoot(cpu, context) ? usablePdptes(mmu, cpu, context) : null;
  // The hash first: a VM whose slots are ready has one.
  kvmMmuAllocPageHash(mmu, cpu);
  mmuFirstShadowRootAlloc(mmu.memslots, cpu);
  cpu.writeLock(mmu.mmuLock);
  const root = allocUnderLock(mmu, cpu, vcpu, context, pdptes);
  if (root !== NULL_ADDRESS) {
    cpu.writeOnce32(context.rootHpaWord, root);
    cpu.writeOnce(context.rootPgdWord, guestPgd);
  }
  cpu.writeUnlock(mmu.mmuLock);
  return root !== NULL_ADDRESS;
}
