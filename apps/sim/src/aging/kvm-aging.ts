import type { Memslots } from "@kvm-age/memslot";
import { kvmShadowAgeGfn, kvmShadowTestAgeGfn, type ShadowMmu } from "@kvm-age/shadow-mmu";
import { kvmTdpMmuAgeGfnRange, kvmTdpMmuTestAgeGfn, type TdpMmu } from "@kvm-age/tdp-mmu";
import { type AgingPart, noAgingPart, underMmuLock } from "./aging-part.js";
import type { KvmAgingPolicy } from "./aging-policies.js";
import { shadowFirst, tdpFirst } from "./both-mmus.js";

function tdpPart(tdp: TdpMmu): AgingPart {
  return {
    age: (cpu, range) => kvmTdpMmuAgeGfnRange(tdp, cpu, range),
    test: (cpu, range) => kvmTdpMmuTestAgeGfn(tdp, cpu, range),
  };
}

/** The shadow MMU asks by itself whether it may have SPTEs (`kvm_may_have_shadow_mmu_sptes`). */
function shadowPart(shadow: ShadowMmu): AgingPart {
  return {
    age: (cpu, range) => kvmShadowAgeGfn(shadow, cpu, range),
    test: (cpu, range) => kvmShadowTestAgeGfn(shadow, cpu, range),
  };
}

/** A VM's answer to the aging hooks: which MMU when, under which lock. */
export function kvmAging(
  memslots: Memslots,
  tdp: TdpMmu | null,
  shadow: ShadowMmu | null,
  policy: KvmAgingPolicy,
): AgingPart {
  const { mmuLock } = memslots.locks;
  const wrap = (part: AgingPart, aging: KvmAgingPolicy["tdp"]): AgingPart =>
    policy.notifier.lockless && aging === "locked" ? underMmuLock(mmuLock, part) : part;
  const first = tdp === null ? noAgingPart : wrap(tdpPart(tdp), policy.tdp);
  const second = shadow === null ? noAgingPart : wrap(shadowPart(shadow), policy.shadow);
  return policy.order === "tdp-first" ? tdpFirst(first, second) : shadowFirst(first, second);
}
