import { type AgingPolicy, LOCKED_AGING, LOCKLESS_AGING } from "@kvm-age/memslot";
import { baseVolatileRule, mergedVolatileRule, type VolatileRule } from "@kvm-age/spte";

/** How one MMU ages: `locked` under `mmu_lock` held for write, `lockless` without it. */
export type MmuAging = "locked" | "lockless";

/** How a VM answers the notifier's aging calls, as data. */
export interface KvmAgingPolicy {
  readonly tdp: MmuAging;
  readonly shadow: MmuAging;
  /** What the notifier holds when it calls. An MMU that is `locked` under a lockless notifier takes `mmu_lock` by itself. */
  readonly notifier: AgingPolicy;
  /**
   * `shadow-first`: rmaps, then TDP, both always (before the series). `tdp-first`: TDP, then rmaps; a test stops at a young TDP (from
   * patch 6 on).
   */
  readonly order: "shadow-first" | "tdp-first";
}

/** The policies by the name that the command line has for them. */
export const KVM_AGING_POLICIES = {
  locked: { tdp: "locked", shadow: "locked", notifier: LOCKED_AGING, order: "shadow-first" },
  "tdp-lockless": { tdp: "lockless", shadow: "locked", notifier: LOCKLESS_AGING, order: "tdp-first" },
  "shadow-lockless": { tdp: "locked", shadow: "lockless", notifier: LOCKLESS_AGING, order: "tdp-first" },
  lockless: { tdp: "lockless", shadow: "lockless", notifier: LOCKLESS_AGING, order: "tdp-first" },
} as const satisfies Readonly<Record<string, KvmAgingPolicy>>;

/** What an MMU is told of how it ages: both MMUs have these two options. */
export function mmuAgingOptions(aging: MmuAging): {
  aging: "lockless" | "mmu-lock-write";
  volatileRule: VolatileRule;
} {
  if (aging === "lockless") return { aging: "lockless", volatileRule: mergedVolatileRule };
  return { aging: "mmu-lock-write", volatileRule: baseVolatileRule };
}
