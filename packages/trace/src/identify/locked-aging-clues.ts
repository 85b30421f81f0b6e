import type { KvmEventFields } from "../schema/kvm-event-fields.js";
import type { RecordOrigin, TraceRecord } from "../schema/trace-record.js";
import { type Clue, Clues } from "./clues.js";

/** The two kernels before 7.3, which differ in what aging does and not in the text of their events. */
type Kernel = "linux-6.12" | "linux-6.15";

const LOCKED: Clue<Kernel> = {
  answer: "linux-6.12",
  seen: "aging changes SPTEs one preempt level deeper than kvm_age_hva: under mmu_lock",
};
const LOCKLESS: Clue<Kernel> = {
  answer: "linux-6.15",
  seen: "aging changes SPTEs at the preempt level of kvm_age_hva: without mmu_lock",
};
const NO_SOFTWARE_A: Clue<Kernel> = {
  answer: "linux-6.12",
  seen: "EPT SPTEs that disable A/D have no software Accessed bit",
};
const SOFTWARE_A: Clue<Kernel> = {
  answer: "linux-6.15",
  seen: "EPT SPTEs that disable A/D have a software Accessed bit",
};

/** Column of the latency flags that holds the preempt depth. */
const PREEMPT_DEPTH_COLUMN = 3;
const DEFAULT_ACCESSED_BIT = 1n << 5n;
const EPT_ACCESSED_BIT = 1n << 8n;
const EPT_RWX_MASK = 7n;
/** Suppress-#VE, A/D disabled (before 7.3: bit 52) and shadow-present. */
const EPT_AD_DISABLED = (1n << 63n) | (1n << 52n) | (1n << 11n);

/** The preempt depth that the latency flags show; null if they do not. */
function preemptDepth({ flags }: RecordOrigin): number | null {
  const letter = flags[PREEMPT_DEPTH_COLUMN];
  if (letter === undefined) return null;
  return letter === "." ? 0 : Number.parseInt(letter, 16);
}

type SpteChange = Pick<KvmEventFields["kvm_tdp_mmu_spte_changed"], "old_spte" | "new_spte">;

function lostAccessed({ old_spte, new_spte }: SpteChange): boolean {
  const lost = BigInt.asUintN(64, old_spte ^ new_spte);
  return lost === DEFAULT_ACCESSED_BIT || lost === EPT_ACCESSED_BIT;
}

function trackedClue({ old_spte, new_spte }: SpteChange): Clue<Kernel> | null {
  if (BigInt.asUintN(64, new_spte & EPT_AD_DISABLED) !== EPT_AD_DISABLED) return null;
  if (BigInt.asUintN(64, new_spte & EPT_RWX_MASK) !== 0n) return null;
  if (BigInt.asUintN(64, old_spte & EPT_RWX_MASK) === 0n) return null;
  return BigInt.asUintN(64, old_spte & EPT_ACCESSED_BIT) === 0n ? NO_SOFTWARE_A : SOFTWARE_A;
}

/** A fault makes a leaf young: with a software Accessed bit, or without any. */
function youngLeafClue(spte: bigint): Clue<Kernel> | null {
  if (BigInt.asUintN(64, spte & EPT_AD_DISABLED) !== EPT_AD_DISABLED) return null;
  if (BigInt.asUintN(64, spte & EPT_RWX_MASK) === 0n) return null;
  return BigInt.asUintN(64, spte & EPT_ACCESSED_BIT) === 0n ? NO_SOFTWARE_A : SOFTWARE_A;
}

/**
 * Tells 6.12, whose aging holds `mmu_lock`, from 6.15, whose aging does not. Only the contents of access-tracked SPTEs and the latency
 * flags of kernels that count preemption tell; where neither is in the trace there is no answer.
 */
export class LockedAgingClues {
  readonly #clues = new Clues<Kernel>();
  /** Preempt depth at the last `kvm_age_hva` of a task, until the task's next event that is not part of that call. */
  readonly #agingDepth = new Map<number, number>();

  observe(record: TraceRecord): void {
    if (record.kind !== "kvm") return;
    if (record.name === "kvm_mmu_set_spte") {
      const clue = youngLeafClue(record.fields.spte);
      if (clue !== null) this.#clues.add(clue);
    }
    if (record.name === "kvm_tdp_mmu_spte_changed") {
      this.#observeChange(record, record.fields);
      return;
    }
    const depth = record.name === "kvm_age_hva" ? preemptDepth(record) : null;
    if (depth === null || depth === 0) this.#agingDepth.delete(record.pid);
    else this.#agingDepth.set(record.pid, depth);
  }

  #observeChange(origin: RecordOrigin, change: SpteChange): void {
    const tracked = trackedClue(change);
    if (tracked !== null) this.#clues.add(tracked);
    const before = this.#agingDepth.get(origin.pid);
    const now = preemptDepth(origin);
    if (before === undefined || now === null || !lostAccessed(change)) return;
    if (now === before) this.#clues.add(LOCKLESS);
    if (now === before + 1) this.#clues.add(LOCKED);
  }

  get kernel(): Kernel | null {
    return this.#clues.answer;
  }

  get evidence(): readonly string[] {
    return this.#clues.sentences((answer) => `kernel ${answer}`);
  }
}
