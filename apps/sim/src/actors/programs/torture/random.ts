/** A small seeded generator (xorshift32): the same seed gives the same choices in every run. */
export class Random {
  private state: number;

  /** @param seed any integer; 0 is replaced, because the generator would stand still */
  constructor(seed: number) {
    this.state = seed >>> 0 || 0x9e3779b9;
  }

  /** An integer in [0, limit); `limit` in [1, 2^32). */
  below(limit: number): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x >>> 0;
    return this.state % limit;
  }

  /** True once in `times` on average. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }
}
