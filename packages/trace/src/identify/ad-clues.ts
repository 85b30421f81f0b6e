import type { RuleSet } from "@kvm-age/spte";
import type { KvmMmuPageFields } from "../schema/kvm-event-fields.js";
import type { TraceRecord } from "../schema/trace-record.js";
import { type Clue, Clues } from "./clues.js";
import { observedSpte } from "./observed-sptes.js";

const PAGE_AD: Clue<boolean> = { answer: true, seen: "direct page-table pages are marked ad" };
const PAGE_NO_AD: Clue<boolean> = { answer: false, seen: "direct page-table pages are marked !ad" };

/**
 * Gathers whether the CPU maintains Accessed and Dirty. Page-table pages say so themselves; where a trace has none, the type field of its
 * SPTEs does, whose place depends on the kernel. Pages that shadow a nested guest's tables follow that guest's wish and do not count.
 */
export class AdClues {
  readonly #pages = new Clues<boolean>();
  /** How often each value of bits 63:52 was seen in a present SPTE: at most 4096 entries. */
  readonly #highBits = new Map<number, number>();

  observe(record: TraceRecord): void {
    if (record.kind === "kvm" && record.name === "kvm_mmu_get_page") this.#observePage(record.fields);
    const observed = observedSpte(record);
    if (observed === null) return;
    const high = Number(BigInt.asUintN(64, observed.spte) >> 52n);
    this.#highBits.set(high, (this.#highBits.get(high) ?? 0) + 1);
  }

  #observePage({ direct, ad }: KvmMmuPageFields): void {
    if (!direct || ad === null) return;
    this.#pages.add(ad ? PAGE_AD : PAGE_NO_AD);
  }

  /** Whether A and D are in use; null if nothing says so. */
  adBits(rules: RuleSet): boolean | null {
    const answer = this.#pages.answer;
    if (answer !== null) return answer;
    let [enabled, disabled] = [0, 0];
    for (const [high, count] of this.#highBits) {
      const spte = BigInt.asUintN(64, BigInt(high) << 52n);
      if (BigInt.asUintN(64, spte & rules.spteTdpAdMask) === rules.spteTdpAdDisabled) disabled += count;
      else enabled += count;
    }
    if (enabled + disabled === 0) return null;
    return enabled >= disabled;
  }

  /** The sentences behind `adBits(rules)`. */
  evidence(rules: RuleSet): readonly string[] {
    const words = (answer: boolean): string => (answer ? "A/D bits" : "no A/D bits");
    const sentences = this.#pages.sentences(words);
    const adBits = this.adBits(rules);
    if (sentences.length > 0 || adBits === null) return sentences;
    return [`${words(adBits)}: the A/D type field of the SPTEs`];
  }
}
