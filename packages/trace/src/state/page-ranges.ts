/** A set of page numbers, kept as ascending ranges that neither touch nor overlap. */
export class PageRanges {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  /** Number of the first range that ends after `page`. */
  #firstEndingAfter(page: number): number {
    let [low, high] = [0, this.#ends.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#ends[middle]! > page) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Adds the pages from `start` up to, not including, `end`; joins ranges that now touch. */
  add(start: number, end: number): void {
    if (start >= end) return;
    const first = this.#firstEndingAfter(start - 1);
    let after = first;
    let [from, to] = [start, end];
    while (after < this.#starts.length && this.#starts[after]! <= end) {
      from = Math.min(from, this.#starts[after]!);
      to = Math.max(to, this.#ends[after]!);
      after++;
    }
    if (after === first + 1 && from === this.#starts[first] && to === this.#ends[first]) return;
    this.#starts.splice(first, after - first, from);
    this.#ends.splice(first, after - first, to);
  }

  has(page: number): boolean {
    const index = this.#firstEndingAfter(page);
    return index < this.#starts.length && this.#starts[index]! <= page;
  }

  /** The ranges in ascending order. */
  get ranges(): readonly (readonly [start: number, end: number])[] {
    return this.#starts.map((start, index) => [start, this.#ends[index]!]);
  }
}
