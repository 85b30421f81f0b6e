import { Random } from "../actors/programs/torture/random.js";
import type { MmuOptions } from "../options/mmu-options.js";
import { MMU_SHAPES } from "../vm/mmu-shape.js";
import type { VmTuning } from "../vm/vm-tuning.js";

/** What is tortured, and how long. Plain data; the seed decides everything but the interleaving. */
export interface TortureOptions extends Omit<MmuOptions, "vcpus"> {
  readonly vcpus: number;
  readonly agers: number;
  /** Accesses of each vCPU. */
  readonly accesses: number;
  readonly guestPages: number;
  readonly hugePages: boolean;
  readonly tuning: Partial<VmTuning>;
  /** Whether every write is checked as it happens. */
  readonly complianceWatch: boolean;
}

/** Options of a torture run where nothing else is said. */
export const defaultTortureOptions: TortureOptions = {
  vcpus: 2,
  agers: 2,
  accesses: 60_000,
  guestPages: 4096,
  hugePages: false,
  policy: "lockless",
  mmu: "tdp",
  mmuMode: "ept",
  adBits: true,
  ruleSet: "linux-7.3",
  seed: 1,
  lockdep: false,
  sanitizer: false,
  tuning: {},
  complianceWatch: false,
};

/** Whether hardware and guests of the shape can be of this kind. */
function isPossible({ mmu, mmuMode, adBits }: Pick<TortureOptions, "mmu" | "mmuMode" | "adBits">): boolean {
  return adBits || (mmuMode === "ept" && MMU_SHAPES[mmu].tdp);
}

/** Options drawn by a seed, the same for the same seed: every shape and policy comes up within eight consecutive seeds. */
export function drawTortureOptions(seed: number): TortureOptions {
  const random = new Random(seed);
  const draw = <Value>(values: readonly Value[]): Value => values[random.below(values.length)]!;
  const mmu = (["tdp", "direct", "shadow", "tdp+nested"] as const)[seed % 4]!;
  const policy =
    Math.floor(seed / 4) % 2 === 0
      ? draw(["lockless", "lockless", "tdp-lockless"] as const)
      : draw(["locked", "shadow-lockless"] as const);
  const mmuMode = draw(["ept", "ept", "npt"] as const);
  const adBits = !isPossible({ mmu, mmuMode, adBits: false }) || random.oneIn(2);
  return {
    ...defaultTortureOptions,
    mmu,
    policy,
    mmuMode,
    adBits,
    ruleSet: draw(["linux-6.15", "linux-7.3"] as const),
    hugePages: random.oneIn(3),
    seed,
    tuning: {
      ...drawTuning(random),
      cpuDirtyLog: random.oneIn(4) && MMU_SHAPES[mmu].tdp && mmuMode === "ept",
    },
  };
}

function drawTuning(random: Random): Partial<VmTuning> {
  const dirtyLogManualProtect = random.oneIn(2);
  return {
    slotZapAll: random.oneIn(2),
    nxHugePages: random.oneIn(2),
    dirtyLogManualProtect,
    dirtyLogInitiallySet: dirtyLogManualProtect && random.oneIn(2),
  };
}
