import type { KvmEventFields } from "../schema/kvm-event-fields.js";
import type { TraceRecord } from "../schema/trace-record.js";
import { type Clue, Clues } from "./clues.js";
import { observedSpte } from "./observed-sptes.js";
import type { TraceMmuMode } from "./trace-identity.js";

/** What a sign can say: one mode, the layout that NPT and shadow paging share, or any two-dimensional paging. */
type ModeAnswer = TraceMmuMode | "npt or shadow" | "ept or npt";

const PWT_PCD_BITS = 0x18n;
const SUPPRESS_VE_OR_NX_BIT = 1n << 63n;
const PAGE_SIZE_BIT = 0x80n;
const PFERR_GUEST_FINAL_OR_PAGE_MASK = 3n << 32n;
const EPT_GVA_IS_VALID = 1n << 7n;

const NPF_ERROR_CODE: Clue<ModeAnswer> = {
  answer: "npt",
  seen: "error codes of kvm_page_fault have bit 32 or 33, as nested page faults of AMD do",
};
const EPT_QUALIFICATION: Clue<ModeAnswer> = {
  answer: "ept",
  seen: "error codes of kvm_page_fault have bit 7, as EPT exit qualifications do",
};
const PF_ERROR_CODE: Clue<ModeAnswer> = {
  answer: "shadow",
  seen: "error codes of kvm_page_fault are those of an ordinary page fault",
};
const MEMORY_TYPE: Clue<ModeAnswer> = {
  answer: "ept",
  seen: "present SPTEs have an EPT memory type in bits 5:3",
};
const EPT_TABLE: Clue<ModeAnswer> = {
  answer: "ept",
  seen: "SPTEs that point to tables have bit 63 (suppress #VE)",
};
const NO_SUPPRESS_VE: Clue<ModeAnswer> = {
  answer: "npt or shadow",
  seen: "present SPTEs lack bit 63, which EPT always sets",
};
const TDP_EVENT: Clue<ModeAnswer> = { answer: "ept or npt", seen: "the TDP MMU's kvm_tdp_mmu_spte_changed" };
const TDP_FAST_FAULT: Clue<ModeAnswer> = {
  answer: "ept or npt",
  seen: "error codes of fast_page_fault have bit 32 or 33",
};
const GUEST_WALK: Clue<ModeAnswer> = { answer: "shadow", seen: "walks of guest page tables" };

/** What the value of a present SPTE says. */
function spteClue(spte: bigint, level: number): Clue<ModeAnswer> | null {
  if (BigInt.asUintN(64, spte & SUPPRESS_VE_OR_NX_BIT) === 0n) return NO_SUPPRESS_VE;
  if (BigInt.asUintN(64, spte & PWT_PCD_BITS) !== 0n) return MEMORY_TYPE;
  const table = level > 1 && BigInt.asUintN(64, spte & PAGE_SIZE_BIT) === 0n;
  return table ? EPT_TABLE : null;
}

function faultClue({ error_code }: KvmEventFields["kvm_page_fault"]): Clue<ModeAnswer> {
  if (BigInt.asUintN(64, error_code & PFERR_GUEST_FINAL_OR_PAGE_MASK) !== 0n) return NPF_ERROR_CODE;
  return BigInt.asUintN(64, error_code & EPT_GVA_IS_VALID) !== 0n ? EPT_QUALIFICATION : PF_ERROR_CODE;
}

function fastFaultClue({ error_code }: KvmEventFields["fast_page_fault"]): Clue<ModeAnswer> | null {
  return BigInt.asUintN(64, error_code & PFERR_GUEST_FINAL_OR_PAGE_MASK) !== 0n ? TDP_FAST_FAULT : null;
}

/** Gathers what a trace says about the MMU mode. */
export class ModeClues {
  /** From the contents of SPTEs. */
  readonly #sptes = new Clues<ModeAnswer>();
  /** From the error codes of guest faults. */
  readonly #faults = new Clues<ModeAnswer>();
  /** From the kind of events. */
  readonly #events = new Clues<ModeAnswer>();

  observe(record: TraceRecord): void {
    if (record.kind !== "kvm") return;
    if (record.name === "kvm_page_fault") this.#faults.add(faultClue(record.fields));
    if (record.name === "kvm_tdp_mmu_spte_changed") this.#events.add(TDP_EVENT);
    if (record.name === "kvm_mmu_pagetable_walk") this.#events.add(GUEST_WALK);
    const fast = record.name === "fast_page_fault" ? fastFaultClue(record.fields) : null;
    if (fast !== null) this.#events.add(fast);
    const observed = observedSpte(record);
    const clue = observed === null ? null : spteClue(observed.spte, observed.level);
    if (clue !== null) this.#sptes.add(clue);
  }

  /** The mode; null if nothing speaks for one. SPTEs decide about EPT, then error codes, then the kind of events. */
  get mode(): TraceMmuMode | null {
    const layout = this.#sptes.answer;
    if (layout === "ept") return "ept";
    const fault = this.#faults.answer;
    if (layout === null) return fault as TraceMmuMode | null;
    if (fault === "npt" || fault === "shadow") return fault;
    return this.#events.answer === "shadow" ? "shadow" : "npt";
  }

  get evidence(): readonly string[] {
    const words = (answer: ModeAnswer): string => `mode ${answer}`;
    return [this.#sptes, this.#faults, this.#events].flatMap((clues) => clues.sentences(words));
  }
}
