import { createSpteFormat, linux73, linux612, linux615, type RuleSet, type SpteFormat } from "@kvm-age/spte";
import type { MmuOptions } from "../options/mmu-options.js";
import { MMU_SHAPES } from "./mmu-shape.js";
import type { VmTuning } from "./vm-tuning.js";

/** Test memory in several slots that all map the same host memory, as in mmu_stress_test. */
export interface AliasedSlots {
  /** Guest-physical address of the first slot, a multiple of 4 KiB; the others follow without gaps. */
  readonly startGpa: number;
  /** 4 KiB pages of each slot, and of the host memory behind all of them; divides `guestPages`. */
  readonly pages: number;
}

/** What a VM and the host under it are made of. Plain data. */
export interface VmConfig extends MmuOptions {
  /** 4 KiB pages of the guest's test memory. */
  readonly guestPages: number;
  /** Absent: one slot of `guestPages`, which ends at the top of guest memory. */
  readonly aliasedSlots?: AliasedSlots;
  /** Whether the host backs the guest with transparent huge pages. */
  readonly hugePages: boolean;
  /** Host pages for the guest; fewer than `guestPages` make reclaim necessary. */
  readonly hostPages: number;
  /** Host pages in use above which reclaim has work, at most `hostPages`. */
  readonly memoryLimitPages: number;
  /** Slots of the swap device; 0 without reclaim. */
  readonly swapSlots: number;
  /** Whether every page carries a token for its contents, for checking. */
  readonly contents: boolean;
  /** Whether the true time of each page's last access is recorded, for judging the age data. */
  readonly recordAccesses: boolean;
  /** What is not at its default. */
  readonly tuning?: Partial<VmTuning>;
  /** Pages for guest page tables beyond those that map the test memory. @default 0 */
  readonly spareGuestTablePages?: number;
  /** Whether every write is checked (`withComplianceWatch`). @default false */
  readonly complianceWatch?: boolean;
}

/** Guest physical address bits of a scenario's VM; its test memory ends at the top, as in the selftests. */
export const GUEST_PHYSICAL_BITS = 46;

const RULE_SETS: Readonly<Record<VmConfig["ruleSet"], RuleSet>> = {
  "linux-6.12": linux612,
  "linux-6.15": linux615,
  "linux-7.3": linux73,
};

/** The SPTE format that a configuration asks for. */
export function formatOf(config: VmConfig): SpteFormat {
  const ruleSet = RULE_SETS[config.ruleSet];
  if (!MMU_SHAPES[config.mmu].tdp) {
    return createSpteFormat({ mode: "shadow", ruleSet, maxPhyAddr: GUEST_PHYSICAL_BITS });
  }
  if (config.mmuMode === "npt") return createSpteFormat({ mode: "npt", ruleSet });
  return createSpteFormat({ mode: "ept", adBits: config.adBits, ruleSet, maxPhyAddr: GUEST_PHYSICAL_BITS });
}
