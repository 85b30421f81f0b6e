import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { roleDirect } from "@kvm-age/spte";
import { NO_PAGE, spRole } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { KVM_MMU_NUM_PREV_ROOTS, type KvmMmu } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { KVM_MMU_ROOT_CURRENT, kvmMmuFreeRoots } from "./kvm-mmu-free-roots.js";
import { rootHpaToSp, rootSp } from "./root-sp.js";

/** A root and the guest root it shadows (`struct kvm_mmu_root_info`). */
interface RootInfo {
  readonly hpa: Address;
  readonly pgd: bigint;
}

const NO_ROOT: RootInfo = { hpa: NULL_ADDRESS, pgd: 0n };

function readCurrent(cpu: Cpu, context: KvmMmu): RootInfo {
  return { hpa: context.rootHpa(cpu), pgd: cpu.readOnce(context.rootPgdWord) };
}

function writeCurrent(cpu: Cpu, context: KvmMmu, root: RootInfo): void {
  cpu.writeOnce32(context.rootHpaWord, root.hpa);
  cpu.writeOnce(context.rootPgdWord, root.pgd);
}

function readPrevious(cpu: Cpu, context: KvmMmu, index: number): RootInfo {
  const hpa = cpu.readOnce32(context.previousRootHpaWord(index)) as Address;
  return { hpa, pgd: cpu.readOnce(context.previousRootPgdWord(index)) };
}

function writePrevious(cpu: Cpu, context: KvmMmu, index: number, root: RootInfo): void {
  cpu.writeOnce32(context.previousRootHpaWord(index), root.hpa);
  cpu.writeOnce(context.previousRootPgdWord(index), root.pgd);
}

/**
 * `is_root_usable`: the root is for this guest root and the context's role; a zapped one has another role by its invalid
 * bit.
 */
function isRootUsable(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu, root: RootInfo, pgd: bigint): boolean {
  if (root.hpa === NULL_ADDRESS) return false;
  const role = context.rootRole(cpu);
  if (!roleDirect(role) && pgd !== root.pgd) return false;
  return spRole(cpu, rootHpaToSp(mmu, cpu, root.hpa)) === role;
}

/** Number of the first previous root that can be used, or -1. */
function findPrevious(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu, pgd: bigint): number {
  for (let index = 0; index < KVM_MMU_NUM_PREV_ROOTS; index++) {
    if (isRootUsable(mmu, cpu, context, readPrevious(cpu, context, index), pgd)) return index;
  }
  return -1;
}

/** Moves the roots before number `index` down by one and puts `first` in front. */
function pushPrevious(cpu: Cpu, context: KvmMmu, index: number, first: RootInfo): void {
  for (let to = index; to > 0; to--) writePrevious(cpu, context, to, readPrevious(cpu, context, to - 1));
  writePrevious(cpu, context, 0, first);
}

/**
 * `cached_root_find_and_keep_current`: the wanted root becomes current, the current one the first of the previous. If none is
 * cached, the oldest is freed and there is no current root.
 */
function cachedRootFindAndKeepCurrent(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  context: KvmMmu,
  pgd: bigint,
): boolean {
  const current = readCurrent(cpu, context);
  if (isRootUsable(mmu, cpu, context, current, pgd)) return true;
  const found = findPrevious(mmu, cpu, context, pgd);
  const taken = found < 0 ? KVM_MMU_NUM_PREV_ROOTS - 1 : found;
  const next = readPrevious(cpu, context, taken);
  pushPrevious(cpu, context, taken, current);
  writeCurrent(cpu, context, next);
  if (found < 0) kvmMmuFreeRoots(mmu, cpu, vcpu, context, KVM_MMU_ROOT_CURRENT);
  return found >= 0;
}

/** `cached_root_find_without_current`: the wanted root becomes current; those behind it move up. */
function cachedRootFindWithoutCurrent(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu, pgd: bigint): boolean {
  const found = findPrevious(mmu, cpu, context, pgd);
  if (found < 0) return false;
  writeCurrent(cpu, context, readPrevious(cpu, context, found));
  for (let index = found; index < KVM_MMU_NUM_PREV_ROOTS - 1; index++) {
    writePrevious(cpu, context, index, readPrevious(cpu, context, index + 1));
  }
  writePrevious(cpu, context, KVM_MMU_NUM_PREV_ROOTS - 1, NO_ROOT);
  return true;
}

/**
 * `fast_pgd_switch`: looks for the root of `pgd` among the context's current and previous ones and makes it current. Roots
 * without a page of their own, which are the dummy and three-level ones, are never remembered. Held: SRCU, not `mmu_lock`.
 *
 * @returns whether it was found; without, the context has no current root
 */
export function fastPgdSwitch(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  context: KvmMmu,
  pgd: bigint,
): boolean {
  if (context.rootHpa(cpu) !== NULL_ADDRESS && rootSp(mmu, cpu, context) === NO_PAGE) {
    kvmMmuFreeRoots(mmu, cpu, vcpu, context, KVM_MMU_ROOT_CURRENT);
  }
  if (context.rootHpa(cpu) === NULL_ADDRESS) return cachedRootFindWithoutCurrent(mmu, cpu, context, pgd);
  return cachedRootFindAndKeepCurrent(mmu, cpu, vcpu, context, pgd);
}
