import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { roleDirect, type Spte } from "@kvm-age/spte";
import { vcpuClearMmioInfo } from "../fault/mmio-cache.js";
import { type KvmMmuPage, NO_PAGE, unsyncChildrenWord, unsyncWord } from "../page/kvm-mmu-page.js";
import { spteToChildSp } from "../page/sptep-to-sp.js";
import { kvmMmuFreeRoots, kvmMmuRootPrevious } from "../root/kvm-mmu-free-roots.js";
import { usesPaeRoot } from "../root/mmu-alloc-special-roots.js";
import { PAE_ROOT_ENTRIES, paeRootEntryWord } from "../root/pae-root.js";
import { rootHpaToSp, rootSp } from "../root/root-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { KVM_MMU_NUM_PREV_ROOTS, type KvmMmu } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { mmuSyncChildren } from "./mmu-sync-children.js";

/**
 * `is_unsync_root`: whether anything under the root may differ from the guest's tables. False for roots without a page of
 * their own.
 */
export function isUnsyncRoot(mmu: ShadowMmu, cpu: Cpu, rootHpa: Address): boolean {
  const sp = rootHpaToSp(mmu, cpu, rootHpa);
  if (sp === NO_PAGE) return false;
  // Pairs with the write barrier in `mmuTryToUnsyncPages`: the guest has written to its tables through an entry that became
  // writable after the marks were set, and it waits for this flush, so its processor, which is this one, sees the marks.
  cpu.smpRmb();
  return cpu.readOnce32(unsyncWord(sp)) !== 0 || cpu.readOnce32(unsyncChildrenWord(sp)) !== 0;
}

/** The pages right under a three-level root. */
function paeRootPages(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu): KvmMmuPage[] {
  const paeRoot = cpu.readOnce32(context.paeRootWord) as Address;
  const pages: KvmMmuPage[] = [];
  for (let index = 0; index < PAE_ROOT_ENTRIES; index++) {
    const pdpte = cpu.readOnce(paeRootEntryWord(paeRoot, index)) as Spte;
    if (pdpte !== 0n) pages.push(spteToChildSp(mmu, cpu, pdpte));
  }
  return pages;
}

/** The pages to be synchronised below; none if nothing can be unsync. */
function pagesToSync(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu): readonly KvmMmuPage[] {
  const rootHpa = context.rootHpa(cpu);
  if (rootHpa === mmu.zeroPage(cpu)) return [];
  if (usesPaeRoot(cpu, context)) return paeRootPages(mmu, cpu, context);
  return isUnsyncRoot(mmu, cpu, rootHpa) ? [rootSp(mmu, cpu, context)] : [];
}

/**
 * `kvm_mmu_sync_roots`: the guest has flushed its TLB: everything under the current root is brought in line with the
 * guest's tables. Held: SRCU; takes `mmu_lock` for write unless there is nothing to do.
 */
export function kvmMmuSyncRoots(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu): void {
  const context = vcpu.current(cpu);
  if (context.rootHpa(cpu) === NULL_ADDRESS || roleDirect(context.rootRole(cpu))) return;
  vcpuClearMmioInfo(cpu, vcpu, null);
  const pages = pagesToSync(mmu, cpu, context);
  if (pages.length === 0) return;
  cpu.writeLock(mmu.mmuLock);
  for (const sp of pages) mmuSyncChildren(mmu, cpu, vcpu, sp, true);
  cpu.writeUnlock(mmu.mmuLock);
}

/** `kvm_mmu_sync_prev_roots`: previous roots that are unsync are not synchronised but freed. Held: SRCU, not `mmu_lock`. */
export function kvmMmuSyncPrevRoots(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu): void {
  const context = vcpu.current(cpu);
  let roots = 0;
  for (let index = 0; index < KVM_MMU_NUM_PREV_ROOTS; index++) {
    const rootHpa = cpu.readOnce32(context.previousRootHpaWord(index)) as Address;
    if (isUnsyncRoot(mmu, cpu, rootHpa)) roots |= kvmMmuRootPrevious(index);
  }
  kvmMmuFreeRoots(mmu, cpu, vcpu, context, roots);
}
