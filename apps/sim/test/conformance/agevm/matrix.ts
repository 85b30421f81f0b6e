import type { KernelTuning } from "../../../src/conformance/input/infer-tuning.js";
import {
  AGEVM_GUESTS,
  AGEVM_MMUS,
  type AgevmConfig,
  type AgevmGuest,
  type AgevmMmu,
  KERNEL_DEFAULTS,
} from "./agevm-config.js";
import { SCRIPTS } from "./scripts.js";

/** One trace: of which VM, and what it does. */
export interface MatrixCase {
  readonly name: string;
  readonly config: AgevmConfig;
  readonly actions: string;
}

interface Choice {
  readonly kernel: AgevmConfig["kernel"];
  readonly mmu: AgevmMmu;
  readonly guest: AgevmGuest;
  readonly script: string;
  readonly tuning?: Partial<KernelTuning>;
}

const KERNELS = ["linux-6.12", "linux-6.15", "linux-7.3"] as const;

/** Settings that are not the default, and the MMUs that have them: only EPT with A/D has a log of its own (PML). */
const TUNINGS: readonly (readonly [Partial<KernelTuning>, readonly AgevmMmu[]])[] = [
  [{ nxHugePages: true }, AGEVM_MMUS],
  [{ eagerPageSplit: false }, AGEVM_MMUS],
  [{ slotZapAll: false }, AGEVM_MMUS],
  [{ proveMmu: true }, ["npt", "ept", "ept-noad"]],
  [{ cpuDirtyLog: true }, ["ept"]],
  [{ nxHugePages: true, eagerPageSplit: false, slotZapAll: false, proveMmu: true }, AGEVM_MMUS],
];

/** Scenarios in which settings show. */
const TUNED_SCRIPTS = ["dirty", "dirty_thp", "memslot", "memslot_thp", "thp", "thp_split", "race_log"];

/** Every kernel, MMU, guest and scenario, and every setting where it shows. */
export const WHOLE_MATRIX: readonly MatrixCase[] = [
  ...KERNELS.flatMap((kernel) =>
    AGEVM_MMUS.flatMap((mmu) =>
      AGEVM_GUESTS.flatMap((guest) =>
        Object.keys(SCRIPTS).map((script) => caseOf({ kernel, mmu, guest, script })),
      ),
    ),
  ),
  ...TUNINGS.flatMap(([tuning, mmus]) =>
    KERNELS.flatMap((kernel) =>
      mmus.flatMap((mmu) =>
        (["", "gA"] as const).flatMap((guest) =>
          TUNED_SCRIPTS.map((script) => caseOf({ kernel, mmu, guest, script, tuning })),
        ),
      ),
    ),
  ),
];

/** So many cases are left out between two of the sample. 17 has no factor in common with the matrix's sides, so that all values meet. */
const SAMPLE_STEP = 17;

/** A part of the matrix that takes seconds. */
export const MATRIX_SAMPLE: readonly MatrixCase[] = WHOLE_MATRIX.filter(
  (_, index) => index % SAMPLE_STEP === 0,
);

function caseOf({ kernel, mmu, guest, script, tuning = {} }: Choice): MatrixCase {
  const { backing, pages, vcpus = 1, actions } = SCRIPTS[script]!;
  const set = Object.entries(tuning).map(([name, value]) => ` ${name}=${value}`);
  return {
    name: `${kernel} ${mmu} ${guest === "" ? "" : `-${guest} `}${script}${set.join("")}`,
    config: { kernel, mmu, guest, backing, pages, vcpus, tuning: { ...KERNEL_DEFAULTS, ...tuning } },
    actions,
  };
}
