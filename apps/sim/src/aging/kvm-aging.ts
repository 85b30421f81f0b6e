import type { Memslots } from "@kvm-age/memslot";
import {
  kvmMayHaveShadowMmuSptes,
  kvmShadowAgeGfn,
  kvmShadowTestAgeGfn,
  type ShadowMmu,
} from "@kvm-age/shadow-mmu";
import { kvmTdpMmuAgeGfnRange, kvmTdpMmuTestAgeGfn, type TdpMmu } from "@kvm-age/tdp-mmu";
import { type AgingPart, ifMay, noAgingPart, underMmuLock } from "./aging-part.js";
import type { KvmAgingPolicy } from "./aging-policies.js";
import { shadowFirst, tdpFirst } from "./both-mmus.js";

function tdpPart(tdp: TdpMmu): AgingPart {
  return {
    age: (cpu, range) => kvmTdpMmuAgeGfnRange(tdp, cpu, range),
    test: (cpu, range) => kvmTdpMmuTestAgeGfn(tdp, cpu, range),
  };
}

function shadowPart(shadow: ShadowMmu): AgingPart {
  return {
    age: (cpu, range) => kvmShadowAgeGfn(shadow, cpu, range),
    test: (cpu, range) => kvmShadowTestAgeGfn(shadow, cpu, range),
  };
}

/** From patch 7 on the shadow MMU is asked before any lock whether it may have SPTEs, so that a VM without any waits for none. */
function gated(shadow: ShadowMmu, policy: KvmAgingPolicy, part: AgingPart): AgingPart {
  if (policy.order === "shadow-first") return part;
  return ifMay((cpu) => kvmMayHaveShadowMmuSptes(shadow, cpu), part);
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
  const second =
    shadow === null ? noAgingPart : gated(shadow, policy, wrap(shadowPart(shadow), policy.shadow));
  return policy.order === "tdp-first" ? tdpFirst(first, second) : shadowFirst(first, second);
}
