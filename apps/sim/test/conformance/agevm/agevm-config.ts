import { type GuestPagingRegisters, LONG_MODE } from "@kvm-age/shadow-mmu";
import { createSpteFormat, linux73, linux612, linux615, type RuleSet, type SpteFormat } from "@kvm-age/spte";
import type { TraceKernel } from "@kvm-age/trace";
import { AGEVM_CR3 } from "../../../src/conformance/input/agevm-guest-tables.js";
import type { AgevmStart } from "../../../src/conformance/input/agevm-start.js";
import type { KernelTuning } from "../../../src/conformance/input/infer-tuning.js";

/** What maps the guest: the hardware's dimension(s), and which of KVM's MMUs. */
export const AGEVM_MMUS = ["npt", "npt-direct", "ept", "ept-noad", "ept-direct", "shadow"] as const;
export type AgevmMmu = (typeof AGEVM_MMUS)[number];

/** The VMM's flags: none, `-g` guest uses 2 MiB pages, `-A` A and D preset in its entries, `-n` guest without paging, `-g -A`. */
export const AGEVM_GUESTS = ["", "g", "A", "n", "gA"] as const;
export type AgevmGuest = (typeof AGEVM_GUESTS)[number];

/** One VM of the recorded VMM, and the kernel under it. */
export interface AgevmConfig {
  readonly kernel: TraceKernel;
  readonly mmu: AgevmMmu;
  readonly guest: AgevmGuest;
  readonly backing: "4k" | "thp";
  /** 4 KiB pages of the test memory. */
  readonly pages: number;
  readonly vcpus: number;
  readonly tuning: KernelTuning;
}

/** What the kernel does when nobody says otherwise. */
export const KERNEL_DEFAULTS: KernelTuning = {
  proveMmu: false,
  nxHugePages: false,
  cpuDirtyLog: false,
  eagerPageSplit: true,
  slotZapAll: true,
};

/** First gfn of the test memory. */
export const TEST_GFN = 0x40000;

const RULE_SETS: Readonly<Record<TraceKernel, RuleSet>> = {
  "linux-6.12": linux612,
  "linux-6.15": linux615,
  "linux-7.3": linux73,
};
/** Physical address bits of the CPUs that the VMM runs on. */
const EPT_PHYSICAL_BITS = 46;

/** Mode of the format that an MMU's entries have. */
export function modeOf(mmu: AgevmMmu): "npt" | "ept" | "shadow" {
  if (mmu === "shadow") return "shadow";
  return mmu.startsWith("npt") ? "npt" : "ept";
}

export function usesTdpMmu(mmu: AgevmMmu): boolean {
  return mmu === "npt" || mmu === "ept" || mmu === "ept-noad";
}

export function formatOf({ kernel, mmu }: AgevmConfig): SpteFormat {
  const ruleSet = RULE_SETS[kernel];
  const mode = modeOf(mmu);
  if (mode !== "ept") return createSpteFormat({ mode, ruleSet });
  return createSpteFormat({ mode, ruleSet, adBits: mmu !== "ept-noad", maxPhyAddr: EPT_PHYSICAL_BITS });
}

/** The guest's paging registers; a guest without paging runs in 32-bit mode. */
export function pagingOf({ guest }: AgevmConfig): GuestPagingRegisters {
  if (guest !== "n") return { ...LONG_MODE, cr3: AGEVM_CR3 };
  return { ...LONG_MODE, cr0Pg: false, cr4Pae: false, eferLma: false, eferNx: false };
}

/** The VMM's own words about it. */
export function startOf({ pages, guest }: AgevmConfig, hva: number): AgevmStart {
  return {
    pages,
    gfnBase: TEST_GFN,
    hva,
    guestUses2m: guest.includes("g"),
    presetAd: guest.includes("A"),
    nonpaging: guest === "n",
  };
}
