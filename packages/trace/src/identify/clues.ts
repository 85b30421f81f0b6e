/** One kind of sign that a trace can show, and the answer that it speaks for. */
export interface Clue<Answer> {
  readonly answer: Answer;
  /** What was seen, e.g. `kvm_mmu_spte_requested has an access field`. */
  readonly seen: string;
}

/** Counts the clues to one question. */
export class Clues<Answer> {
  readonly #counts = new Map<Clue<Answer>, number>();

  add(clue: Clue<Answer>): void {
    this.#counts.set(clue, (this.#counts.get(clue) ?? 0) + 1);
  }

  /** The answer that most signs speak for; null without any. A tie goes to what was seen first. */
  get answer(): Answer | null {
    const totals = new Map<Answer, number>();
    for (const [{ answer }, count] of this.#counts) totals.set(answer, (totals.get(answer) ?? 0) + count);
    let best: readonly [Answer | null, number] = [null, 0];
    for (const [answer, total] of totals) if (total > best[1]) best = [answer, total];
    return best[0];
  }

  /** A sentence for each kind of sign, with the answer in words. */
  sentences(words: (answer: Answer) => string): readonly string[] {
    return [...this.#counts].map(
      ([{ answer, seen }, count]) =>
        `${words(answer)}: ${seen} (${count} ${count === 1 ? "event" : "events"})`,
    );
  }
}
