import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { PG_LEVEL_4K, SHADOW_NONPRESENT_VALUE, type Spte } from "@kvm-age/spte";
import { vcpuClearMmioInfo } from "../fault/mmio-cache.js";
import { flushRemoteTlbsGfn } from "../flush/flush-remote-tlbs-gfn.js";
import { type KvmMmuPage, unsyncChildrenWord, unsyncWord } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import { kvmMmuPageGetGfn } from "../page/translation.js";
import { KVM_MMU_ROOT_CURRENT, KVM_MMU_ROOTS_ALL, kvmMmuRootPrevious } from "../root/kvm-mmu-free-roots.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { syncSpte } from "../unsync/sync-spte.js";
import { KVM_MMU_NUM_PREV_ROOTS, type KvmMmu, MmuKind } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { ShadowWalkIterator } from "../walk/shadow-walk-iterator.js";
import { mmuPageZapPte } from "../zap/kvm-mmu-prepare-zap-page.js";

/** `kvm_sync_spte` and what follows from its answer, at one entry of an unsync page. */
function syncEntry(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  context: KvmMmu,
  sp: KvmMmuPage,
  iterator: ShadowWalkIterator,
): void {
  const { sptep, index } = iterator;
  if ((cpu.readOnce(sptep) as Spte) === SHADOW_NONPRESENT_VALUE) return;
  const gfn = kvmMmuPageGetGfn(mmu, cpu, sp, index);
  const result = syncSpte(mmu, cpu, vcpu, context, sp, index);
  if (result < 0) mmuPageZapPte(mmu, cpu, sp, sptep, null);
  if (result !== 0) flushRemoteTlbsGfn(mmu, cpu, gfn, PG_LEVEL_4K);
}

/** Walks from one root towards the address and syncs the entries that may be unsync. Ends where nothing below is. */
function invalidateFromRoot(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  context: KvmMmu,
  root: Address,
  addr: number,
): void {
  const iterator = new ShadowWalkIterator(mmu, addr);
  for (iterator.start(cpu, context, root); iterator.okay(); ) {
    const sp = sptepToSp(mmu, cpu, iterator.sptep);
    if (cpu.readOnce32(unsyncWord(sp)) !== 0) syncEntry(mmu, cpu, vcpu, context, sp, iterator);
    if (cpu.readOnce32(unsyncChildrenWord(sp)) === 0) return;
    iterator.next(cpu.readOnce(iterator.sptep) as Spte);
  }
}

/** The frames of those roots of the set that exist. */
function rootsOf(cpu: Cpu, context: KvmMmu, roots: number): Address[] {
  const hpas = (roots & KVM_MMU_ROOT_CURRENT) !== 0 ? [context.rootHpa(cpu)] : [];
  for (let index = 0; index < KVM_MMU_NUM_PREV_ROOTS; index++) {
    if ((roots & kvmMmuRootPrevious(index)) === 0) continue;
    hpas.push(cpu.readOnce32(context.previousRootHpaWord(index)) as Address);
  }
  return hpas.filter((hpa) => hpa !== NULL_ADDRESS);
}

/**
 * `kvm_mmu_invalidate_addr`: the guest invalidated what it had cached for `addr`: the shadow pages under the chosen roots of the context in
 * use follow the guest's entries again. Contexts without guest tables have nothing to follow. Held: SRCU; never `mmu_lock`.
 *
 * @param addr in bytes, an integer in [0, 2^53)
 * @param roots set of `KVM_MMU_ROOT_CURRENT` and `kvmMmuRootPrevious`
 */
export function kvmMmuInvalidateAddr(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  addr: number,
  roots: number,
): void {
  const context = vcpu.current(cpu);
  vcpuClearMmioInfo(cpu, vcpu, addr);
  if (context.kind(cpu) === MmuKind.direct) return;
  cpu.writeLock(mmu.mmuLock);
  for (const root of rootsOf(cpu, context, roots)) invalidateFromRoot(mmu, cpu, vcpu, context, root, addr);
  cpu.writeUnlock(mmu.mmuLock);
}

/**
 * `kvm_mmu_invlpg`: INVLPG. It reaches global mappings as well, whatever their PCID, so every root of the context is treated. The
 * vCPU's hardware drops its own translation of the address; whoever runs the vCPU sees to that.
 *
 * @param gva guest-linear address in bytes, an integer in [0, 2^53)
 */
export function kvmMmuInvlpg(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, gva: number): void {
  kvmMmuInvalidateAddr(mmu, cpu, vcpu, gva, KVM_MMU_ROOTS_ALL);
}
