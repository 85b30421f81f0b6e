import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { roleInvalid, type Spte } from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import { type KvmMmuPage, NO_PAGE, rootCountWord, spRole } from "../page/kvm-mmu-page.js";
import { spteToChildSp } from "../page/sptep-to-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { KVM_MMU_NUM_PREV_ROOTS, type KvmMmu } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { InvalidList } from "../zap/invalid-list.js";
import { kvmMmuCommitZapPage } from "../zap/kvm-mmu-commit-zap-page.js";
import { kvmMmuPrepareZapPage } from "../zap/kvm-mmu-prepare-zap-page.js";
import { PAE_ROOT_ENTRIES, paeRootEntryWord } from "./pae-root.js";
import { rootHpaToSp, rootSp } from "./root-sp.js";

/** `KVM_MMU_ROOT_CURRENT`: the current root, in a set of roots. */
export const KVM_MMU_ROOT_CURRENT = 1;

/** `KVM_MMU_ROOT_PREVIOUS`: previous root number `index`, 0 … 2, in a set of roots. */
export function kvmMmuRootPrevious(index: number): number {
  return 1 << (1 + index);
}

/** `KVM_MMU_ROOTS_ALL`. */
export const KVM_MMU_ROOTS_ALL: number = (1 << (1 + KVM_MMU_NUM_PREV_ROOTS)) - 1;

/** `mmu_free_root_page`: drops a reference; the last one to a page that was zapped meanwhile takes it away. */
function mmuFreeRootPage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, list: InvalidList): void {
  const count = cpu.readOnce32(rootCountWord(sp));
  if (count === 0) throw new ShadowPageCorruptionError("root without a reference freed", { sp });
  cpu.writeOnce32(rootCountWord(sp), count - 1);
  if (count === 1 && roleInvalid(mmu.format.rules, spRole(cpu, sp))) kvmMmuPrepareZapPage(mmu, cpu, sp, list);
}

function freePreviousRoot(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu, index: number, list: InvalidList): void {
  const word = context.previousRootHpaWord(index);
  const rootHpa = cpu.readOnce32(word) as Address;
  if (rootHpa === NULL_ADDRESS) return;
  mmuFreeRootPage(mmu, cpu, rootHpaToSp(mmu, cpu, rootHpa), list);
  cpu.writeOnce32(word, NULL_ADDRESS);
}

function freePaeRoot(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu, list: InvalidList): void {
  const paeRoot = cpu.readOnce32(context.paeRootWord) as Address;
  for (let index = 0; index < PAE_ROOT_ENTRIES; index++) {
    const word = paeRootEntryWord(paeRoot, index);
    const pdpte = cpu.readOnce(word) as Spte;
    if (pdpte === 0n) continue;
    mmuFreeRootPage(mmu, cpu, spteToChildSp(mmu, cpu, pdpte), list);
    cpu.writeOnce(word, 0n);
  }
}

function freeCurrentRoot(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu, list: InvalidList): void {
  const rootHpa = context.rootHpa(cpu);
  if (rootHpa === NULL_ADDRESS) return;
  const sp = rootSp(mmu, cpu, context);
  if (sp !== NO_PAGE) mmuFreeRootPage(mmu, cpu, sp, list);
  else if (rootHpa !== mmu.zeroPage(cpu)) freePaeRoot(mmu, cpu, context, list);
  cpu.writeOnce32(context.rootHpaWord, NULL_ADDRESS);
  cpu.writeOnce(context.rootPgdWord, 0n);
}

/** The roots of the set that exist. */
function presentRoots(cpu: Cpu, context: KvmMmu, which: number): number {
  let present = context.rootHpa(cpu) === NULL_ADDRESS ? 0 : KVM_MMU_ROOT_CURRENT;
  for (let index = 0; index < KVM_MMU_NUM_PREV_ROOTS; index++) {
    if (cpu.readOnce32(context.previousRootHpaWord(index)) !== 0) present |= kvmMmuRootPrevious(index);
  }
  return present & which;
}

/**
 * `kvm_mmu_free_roots`: drops roots of a context; pages that nobody has as a root any more stay for others to find, unless
 * they were zapped meanwhile. Held: SRCU; takes `mmu_lock` for write if there is anything to do.
 *
 * @param which set of `KVM_MMU_ROOT_CURRENT` and `kvmMmuRootPrevious`
 */
export function kvmMmuFreeRoots(
  mmu: ShadowMmu,
  cpu: Cpu,
  _vcpu: ShadowMmuVcpu,
  context: KvmMmu,
  which: number,
): void {
  const roots = presentRoots(cpu, context, which);
  if (roots === 0) return;
  const list = new InvalidList();
  cpu.writeLock(mmu.mmuLock);
  for (let index = 0; index < KVM_MMU_NUM_PREV_ROOTS; index++) {
    if ((roots & kvmMmuRootPrevious(index)) !== 0) freePreviousRoot(mmu, cpu, context, index, list);
  }
  if ((roots & KVM_MMU_ROOT_CURRENT) !== 0) freeCurrentRoot(mmu, cpu, context, list);
  kvmMmuCommitZapPage(mmu, cpu, list);
  cpu.writeUnlock(mmu.mmuLock);
}
