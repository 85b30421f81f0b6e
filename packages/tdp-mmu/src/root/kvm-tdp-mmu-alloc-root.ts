import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { type Gfn, type KvmMmuPageRole, kvmCalcTdpMmuRootPageRole } from "@kvm-age/spte";
import { type KvmMmuPage, rootCountWord, spRole, spSpt } from "../page/kvm-mmu-page.js";
import { tdpMmuAllocSp, tdpMmuInitSp } from "../page/tdp-mmu-sp.js";
import type { TdpMmu } from "../tdp-mmu.js";
import type { TdpMmuVcpu } from "../vcpu/tdp-mmu-vcpu.js";
import { addRootToList, nextRootOnList } from "./root-list.js";
import { kvmTdpMmuGetRoot, kvmTdpMmuPutRoot, tdpMmuNextRoot } from "./root-reference.js";
import { KVM_VALID_ROOTS } from "./root-types.js";

const NO_ROOT = NULL_ADDRESS as KvmMmuPage;

/** First look, under `mmu_lock` alone: a valid root of this role, with a reference. */
function findRoot(mmu: TdpMmu, cpu: Cpu, role: KvmMmuPageRole, asId: number): KvmMmuPage {
  let root = tdpMmuNextRoot(mmu, cpu, NO_ROOT, asId, KVM_VALID_ROOTS);
  while (root !== NO_ROOT) {
    if (spRole(cpu, root) === role) return root;
    root = tdpMmuNextRoot(mmu, cpu, root, asId, KVM_VALID_ROOTS);
  }
  return NO_ROOT;
}

/** Second look, with insertions locked out. An invalid root never matches: the bit is part of the word. */
function findRootLocked(mmu: TdpMmu, cpu: Cpu, role: KvmMmuPageRole): KvmMmuPage {
  let root = nextRootOnList(mmu, cpu, NO_ROOT);
  while (root !== NO_ROOT) {
    if (spRole(cpu, root) === role && kvmTdpMmuGetRoot(cpu, root)) return root;
    root = nextRootOnList(mmu, cpu, root);
  }
  return NO_ROOT;
}

function makeRoot(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu, role: KvmMmuPageRole): KvmMmuPage {
  const root = tdpMmuAllocSp(cpu, vcpu);
  tdpMmuInitSp(mmu, cpu, root, NULL_ADDRESS, 0 as Gfn, role);
  // One reference for the vCPU, one for the TDP MMU itself, which pins the root until it is zapped.
  cpu.writeOnce32(rootCountWord(root), 2);
  addRootToList(mmu, cpu, root);
  return root;
}

/**
 * `kvm_tdp_mmu_alloc_root`: gives the vCPU a root of its current role, shared with every vCPU of the same role, and
 * stores it as the vCPU's `root.hpa`. The caller topped up the caches and flushes the vCPU's TLB afterwards.
 */
export function kvmTdpMmuAllocRoot(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu): void {
  const smm = cpu.readOnce32(vcpu.inSmmWord) !== 0;
  const guestMode = cpu.readOnce32(vcpu.guestModeWord) !== 0;
  const role = kvmCalcTdpMmuRootPageRole(mmu.format, { level: mmu.rootLevel, smm, guestMode });
  cpu.readLock(mmu.mmuLock);
  let root = findRoot(mmu, cpu, role, smm ? 1 : 0);
  if (root === NO_ROOT) {
    cpu.spinLock(mmu.pagesLock);
    root = findRootLocked(mmu, cpu, role);
    if (root === NO_ROOT) root = makeRoot(mmu, cpu, vcpu, role);
    cpu.spinUnlock(mmu.pagesLock);
  }
  cpu.readUnlock(mmu.mmuLock);
  cpu.writeOnce32(vcpu.rootHpaWord, spSpt(cpu, root));
}

/** `mmu_free_root_page` for a TDP root: drops the vCPU's reference and its `root.hpa`. */
export function kvmTdpMmuFreeRoot(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu): void {
  const root = rootOfVcpu(mmu, cpu, vcpu);
  if (root === NO_ROOT) return;
  cpu.writeOnce32(vcpu.rootHpaWord, NULL_ADDRESS);
  cpu.readLock(mmu.mmuLock);
  kvmTdpMmuPutRoot(mmu, cpu, root);
  cpu.readUnlock(mmu.mmuLock);
}

/** `root_to_sp(mmu->root.hpa)`: the vCPU's root, or 0. */
export function rootOfVcpu(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu): KvmMmuPage {
  const hpa = cpu.readOnce32(vcpu.rootHpaWord);
  return hpa === 0 ? NO_ROOT : (mmu.frames.readPrivate(cpu, hpa as KvmMmuPage) as KvmMmuPage);
}
