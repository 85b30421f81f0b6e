import { createSpteFormat, type SpteFormat } from "@kvm-age/spte";
import type { TraceKernel } from "../schema/kernel-layout.js";
import type { TraceRecord } from "../schema/trace-record.js";
import { AdClues } from "./ad-clues.js";
import { KernelClues } from "./kernel-clues.js";
import { LockedAgingClues } from "./locked-aging-clues.js";
import { ModeClues } from "./mode-clues.js";
import { ruleSetOf } from "./rule-set-of.js";
import type { TraceIdentity, TraceIdentityOverrides, TraceMmuMode } from "./trace-identity.js";

/** An answer with the sentences that it rests on. */
interface Found<Answer> {
  readonly answer: Answer;
  readonly evidence: readonly string[];
}

const GIVEN = "given by the user";

/**
 * The format for SPTEs of a trace. No trace shows the CPU's address width; the widest that still leaves MMIO SPTEs recognisable decodes
 * the entries of every narrower CPU as well, those of CPUs with the L1TF mitigation excepted, whose MMIO SPTEs show moved gfn bits.
 */
function traceFormat(kernel: TraceKernel, mode: TraceMmuMode, adBits: boolean): SpteFormat {
  const ruleSet = ruleSetOf(kernel);
  return createSpteFormat({ mode, ruleSet, adBits, maxPhyAddr: mode === "ept" ? 52 : 51 });
}

/**
 * Finds out, record by record, which kernel and MMU wrote a trace. Memory does not grow with the trace; `identity` may be asked at any
 * time and speaks for what has been observed so far.
 */
export class TraceIdentifier {
  readonly #overrides: TraceIdentityOverrides;
  readonly #kernel = new KernelClues();
  readonly #lockedAging = new LockedAgingClues();
  readonly #mode = new ModeClues();
  readonly #ad = new AdClues();
  #tdpMmuEvents = 0;
  #sptesSet = 0;

  constructor(overrides: TraceIdentityOverrides = {}) {
    this.#overrides = overrides;
  }

  observe(record: TraceRecord): void {
    if (record.kind !== "kvm") return;
    this.#kernel.observe(record);
    this.#lockedAging.observe(record);
    this.#mode.observe(record);
    this.#ad.observe(record);
    if (record.name === "kvm_tdp_mmu_spte_changed") this.#tdpMmuEvents++;
    if (record.name === "kvm_mmu_set_spte") this.#sptesSet++;
  }

  /**
   * What the records tell, the user's answers going first.
   * @throws UnsupportedSpteFormatOptionError if the user says that a mode other than EPT has no A/D bits
   */
  identity(): TraceIdentity {
    const kernel = this.#kernelFound();
    const mode = this.#modeFound();
    const adBits = this.#adFound(kernel.answer, mode.answer);
    const tdpMmu = this.#tdpMmuFound(mode.answer);
    return {
      kernel: kernel.answer,
      mode: mode.answer,
      adBits: adBits.answer,
      tdpMmu: tdpMmu.answer,
      format: traceFormat(kernel.answer, mode.answer, adBits.answer),
      evidence: [kernel, mode, adBits, tdpMmu].flatMap(({ evidence }) => evidence),
    };
  }

  #kernelFound(): Found<TraceKernel> {
    const given = this.#overrides.kernel;
    if (given !== undefined) return { answer: given, evidence: [`kernel ${given}: ${GIVEN}`] };
    const { generation, evidence } = this.#kernel;
    if (generation === null) {
      return { answer: "linux-7.3", evidence: ["kernel linux-7.3: assumed, no event tells"] };
    }
    if (generation === "7.3") return { answer: "linux-7.3", evidence };
    const { kernel } = this.#lockedAging;
    const undecided = "kernel linux-6.12: assumed, this trace shows nothing in which 6.12 and 6.15 differ";
    const further = kernel === null ? [undecided] : this.#lockedAging.evidence;
    return { answer: kernel ?? "linux-6.12", evidence: [...evidence, ...further] };
  }

  #modeFound(): Found<TraceMmuMode> {
    const given = this.#overrides.mode;
    if (given !== undefined) return { answer: given, evidence: [`mode ${given}: ${GIVEN}`] };
    const { mode, evidence } = this.#mode;
    if (mode === null) {
      return { answer: "ept", evidence: [...evidence, "mode ept: assumed, no event tells ept from npt"] };
    }
    return { answer: mode, evidence };
  }

  #adFound(kernel: TraceKernel, mode: TraceMmuMode): Found<boolean> {
    const given = this.#overrides.adBits;
    if (given !== undefined) {
      return { answer: given, evidence: [`${given ? "A/D bits" : "no A/D bits"}: ${GIVEN}`] };
    }
    if (mode !== "ept") return { answer: true, evidence: [`A/D bits: mode ${mode} always has them`] };
    const rules = ruleSetOf(kernel);
    const answer = this.#ad.adBits(rules);
    if (answer === null) return { answer: true, evidence: ["A/D bits: assumed, no event tells"] };
    return { answer, evidence: this.#ad.evidence(rules) };
  }

  #tdpMmuFound(mode: TraceMmuMode): Found<boolean> {
    if (mode === "shadow") return { answer: false, evidence: ["no TDP MMU: shadow paging does without"] };
    if (this.#tdpMmuEvents > 0) return { answer: true, evidence: ["TDP MMU: its kvm_tdp_mmu_spte_changed"] };
    if (this.#sptesSet > 0) {
      const seen = "kvm_mmu_set_spte without kvm_tdp_mmu_spte_changed";
      return { answer: false, evidence: [`no TDP MMU: ${seen} (kvm.tdp_mmu=N)`] };
    }
    return { answer: true, evidence: ["TDP MMU: assumed, no SPTE is set in this trace"] };
  }
}
