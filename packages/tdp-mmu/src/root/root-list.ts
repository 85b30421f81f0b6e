import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { kvmMmuRoleAsId, roleInvalid } from "@kvm-age/spte";
import { type KvmMmuPage, rootLinkWord, spRole } from "../page/kvm-mmu-page.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { ANY_AS_ID, KVM_DIRECT_ROOTS, KVM_INVALID_ROOTS } from "./root-types.js";

const NO_ROOT = NULL_ADDRESS as KvmMmuPage;

/** `tdp_mmu_root_match`, with the address space: whether a root is of the requested types. */
export function tdpMmuRootMatch(
  mmu: TdpMmu,
  cpu: Cpu,
  root: KvmMmuPage,
  asId: number,
  types: number,
): boolean {
  if ((types & KVM_DIRECT_ROOTS) === 0) return false;
  const role = spRole(cpu, root);
  if (roleInvalid(mmu.format.rules, role) && (types & KVM_INVALID_ROOTS) === 0) return false;
  return asId === ANY_AS_ID || kvmMmuRoleAsId(role) === asId;
}

/**
 * The root after `previous` on the list (the first if 0), or 0 at the end. Acquire: pairs with the release that put
 * the root on the list, so its fields are seen. A root unlinked meanwhile keeps its own link, so a reader standing on
 * it still finds the rest.
 */
export function nextRootOnList(mmu: TdpMmu, cpu: Cpu, previous: KvmMmuPage): KvmMmuPage {
  const word = previous === NO_ROOT ? mmu.rootsWord : rootLinkWord(previous);
  return cpu.loadAcquire32(word) as KvmMmuPage;
}

/**
 * `for_each_tdp_mmu_root` and `for_each_tdp_mmu_root_rcu`: the next matching root, without taking references. The
 * caller holds `mmu_lock` for write, or is in an RCU read section and treats what it finds as unstable.
 */
export function nextMatchingRoot(
  mmu: TdpMmu,
  cpu: Cpu,
  previous: KvmMmuPage,
  asId: number,
  types: number,
): KvmMmuPage {
  let root = nextRootOnList(mmu, cpu, previous);
  while (root !== NO_ROOT && !tdpMmuRootMatch(mmu, cpu, root, asId, types)) {
    root = nextRootOnList(mmu, cpu, root);
  }
  return root;
}

/** `list_add_rcu`: puts a fully made root in front. Under `pagesLock`. */
export function addRootToList(mmu: TdpMmu, cpu: Cpu, root: KvmMmuPage): void {
  cpu.writeOnce32(rootLinkWord(root), cpu.readOnce32(mmu.rootsWord));
  // Release: pairs with the acquire in `nextRootOnList`; whoever sees the root sees its fields.
  cpu.storeRelease32(mmu.rootsWord, root);
}

/** `list_del_rcu`: takes a root out; its own link stays for readers that stand on it. Under `pagesLock`. */
export function deleteRootFromList(mmu: TdpMmu, cpu: Cpu, root: KvmMmuPage): void {
  let word = mmu.rootsWord;
  while (cpu.readOnce32(word) !== root) word = rootLinkWord(cpu.readOnce32(word) as KvmMmuPage);
  cpu.storeRelease32(word, cpu.readOnce32(rootLinkWord(root)));
}
