import type { Command } from "commander";
import type { ScenarioDescription } from "../scenarios/scenario.js";
import { SCENARIO_DESCRIPTIONS } from "../scenarios/scenario-descriptions.js";
import { jsonText } from "../terminal/json-file.js";
import { paint } from "../terminal/style.js";
import { withExamples } from "./help.js";
import type { Session } from "./session.js";

/** Something that can be chosen, and the kernel functions and patches it shows. */
interface Choice {
  readonly name: string;
  readonly summary: string;
  readonly shows: readonly string[];
}

const POLICY_CHOICES: readonly Choice[] = [
  {
    name: "locked",
    summary: "aging holds mmu_lock for write, as before the series",
    shows: ["kvm_handle_hva_range with KVM_MMU_LOCK, Linux 6.14 and older"],
  },
  {
    name: "tdp-lockless",
    summary: "the TDP MMU ages without mmu_lock, the shadow MMU takes it: the series up to its middle",
    shows: ["kvm_tdp_mmu_age_gfn_range under RCU; patches 2 to 7 of version 9 of the series"],
  },
  {
    name: "shadow-lockless",
    summary: "the other way round, which no kernel had: what the rmap locks bring by themselves",
    shows: ["kvm_rmap_age_gfn_range under the rmap locks; patches 8 to 11 of version 9 of the series"],
  },
  {
    name: "lockless",
    summary: "no mmu_lock: memslots under SRCU, page tables under RCU, rmaps under a lock bit of their own",
    shows: ["KVM_MMU_LOCKLESS_AGING, Linux 6.15; all patches of the series"],
  },
];

const MMU_CHOICES: readonly Choice[] = [
  {
    name: "tdp",
    summary: "the TDP MMU: two-dimensional paging, tables walked under RCU",
    shows: ["kvm_tdp_mmu_map, kvm_tdp_mmu_age_gfn_range"],
  },
  {
    name: "direct",
    summary: "two-dimensional paging with tdp_mmu=N: direct shadow pages and rmaps",
    shows: ["direct_page_fault, kvm_rmap_age_gfn_range"],
  },
  {
    name: "shadow",
    summary: "no two-dimensional paging: the guest's own page tables are shadowed",
    shows: ["FNAME(page_fault), kvm_mmu_track_write, mmu_sync_children, kvm_rmap_age_gfn_range"],
  },
  {
    name: "tdp+nested",
    summary: "the TDP MMU for L1; the page tables that L1 keeps for L2 are shadowed; scenarios run in L2",
    shows: ["kvm_init_shadow_ept_mmu, kvm_init_shadow_npt_mmu, kvm_age_gfn with both MMUs"],
  },
];

const MODE_CHOICES: readonly Choice[] = [
  {
    name: "ept",
    summary: "Intel; with --no-ad without Accessed and Dirty bits",
    shows: ["kvm_mmu_set_ept_masks; without A/D: mark_spte_for_access_track, fast_page_fault"],
  },
  {
    name: "npt",
    summary: "AMD; always with Accessed and Dirty bits",
    shows: ["kvm_mmu_reset_all_pte_masks"],
  },
];

const RULE_SET_CHOICES: readonly Choice[] = [
  {
    name: "linux-6.12",
    summary: "before the series; its aging is the policy locked",
    shows: ["is_accessed_spte, is_dirty_spte, spte_has_volatile_bits, zap_collapsible_spte_range"],
  },
  {
    name: "linux-6.15",
    summary: "the series as merged: aging clears A with an atomic AND",
    shows: ["spte_needs_atomic_update, tdp_mmu_clear_spte_bits_atomic"],
  },
  {
    name: "linux-7.3",
    summary: "the default: aging is one compare-exchange that is not tried again",
    shows: ["kvm_tdp_mmu_age_spte, SPTE layout with user-execute"],
  },
];

function describe({ name, summary, shows }: ScenarioDescription): Choice {
  return { name, summary, shows };
}

/** All that can be chosen, by what it is. */
function choices(): Readonly<Record<string, readonly Choice[]>> {
  return {
    scenarios: SCENARIO_DESCRIPTIONS.map(describe),
    policies: POLICY_CHOICES,
    mmus: MMU_CHOICES,
    mmuModes: MODE_CHOICES,
    ruleSets: RULE_SET_CHOICES,
  };
}

const HEADINGS: Readonly<Record<string, string>> = {
  scenarios: "Scenarios (run, compare)",
  policies: "Policies (--policy, --a, --b)",
  mmus: "MMUs (--mmu)",
  mmuModes: "MMU modes (--mmu-mode)",
  ruleSets: "Rule sets (--rule-set)",
};

function listText(session: Session): string {
  const lines = Object.entries(choices()).flatMap(([kind, items]) => [
    paint(session.style, "bold", HEADINGS[kind] ?? kind),
    ...items.flatMap(({ name, summary, shows }) => [
      `  ${name.padEnd(16)} ${summary}`,
      ...shows.map((text) => `  ${" ".repeat(16)} - ${text}`),
    ]),
    "",
  ]);
  return lines.join("\n");
}

/** `kvm-age list`: what there is to choose from. */
export function addListCommand(program: Command, session: Session): void {
  const list = program.command("list").description("list scenarios, policies, MMUs, MMU modes and rule sets");
  list.option("--json", "as JSON");
  withExamples(list, [["kvm-age list", "everything that can be chosen, with the kernel functions it shows"]]);
  list.action((flags: { readonly json?: boolean }) => {
    session.print(flags.json === true ? jsonText(choices()) : listText(session));
  });
}
