import { MMU_LOCK_CLASS } from "@kvm-age/memslot";
import type { ActorTotals } from "../actors/protocol.js";
import { KVM_AGING_POLICIES } from "../aging/aging-policies.js";
import type { Policy } from "../options/mmu-options.js";

/** Agers that took `mmu_lock` although no MMU of the policy ages under it. They do nothing but age, so that once is too often. */
export function locklessAgersThatWaited(policy: Policy, totals: readonly ActorTotals[]): string[] {
  const { tdp, shadow } = KVM_AGING_POLICIES[policy];
  if (tdp === "locked" || shadow === "locked") return [];
  return totals
    .filter(({ role }) => role === "ager")
    .flatMap(({ locks }) => locks.locks.filter(({ lockClass }) => lockClass === MMU_LOCK_CLASS.name))
    .map(({ acquisitions, mode }) => `[locking-9] an ager took mmu_lock for ${mode} ${acquisitions} times`);
}
