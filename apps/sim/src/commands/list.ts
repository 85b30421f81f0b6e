import type { Command } from "commander";
import { accessTracking } from "../scenarios/access-tracking.js";
import { replay } from "../scenarios/replay.js";
import type { ScenarioDescription } from "../scenarios/scenario.js";
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
    name: "lockless",
    summary: "aging takes no mmu_lock: the memslots under SRCU, the page tables under RCU",
    shows: ["KVM_MMU_LOCKLESS_AGING, Linux 6.15; patches 2 to 5 of version 9 of the series"],
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
    scenarios: [describe(accessTracking), describe(replay)],
    policies: POLICY_CHOICES,
    mmuModes: MODE_CHOICES,
    ruleSets: RULE_SET_CHOICES,
  };
}

const HEADINGS: Readonly<Record<string, string>> = {
  scenarios: "Scenarios (run, compare)",
  policies: "Policies (--policy, --a, --b)",
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
  const list = program.command("list").description("list scenarios, policies, MMU modes and rule sets");
  list.option("--json", "as JSON");
  withExamples(list, [["kvm-age list", "everything that can be chosen, with the kernel functions it shows"]]);
  list.action((flags: { readonly json?: boolean }) => {
    session.print(flags.json === true ? jsonText(choices()) : listText(session));
  });
}
