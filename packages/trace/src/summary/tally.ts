/** Counts by key. */
export class Tally<Key> {
  readonly #counts = new Map<Key, number>();

  add(key: Key, count = 1): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + count);
  }

  get(key: Key): number {
    return this.#counts.get(key) ?? 0;
  }

  /** The largest first; equal ones in the order in which they came. */
  get entries(): readonly (readonly [Key, number])[] {
    return [...this.#counts].sort(([, a], [, b]) => b - a);
  }
}
