import { type Address, FRAME_BYTES, offset, type ThreadMachine } from "@kvm-age/machine";
import { isLargePte, isShadowPresentPte, type Spte, type SpteFormat, spteToPfn } from "@kvm-age/spte";
import { leastOf, timeNs } from "./timing.js";

const ENTRIES = 512;
const ROUNDS = 7;
const ROOT_LEVEL = 4;
const MMU_PRESENT = 1n << 11n;

/** What of the leaves is young before each scan that is measured. */
export const YOUNG_SHARES: readonly number[] = [0, 0.1, 1];

/** Thrown when what a measurement goes over is not all there. */
export class MissingLeafError extends Error {
  override readonly name = "MissingLeafError";

  constructor(
    readonly sptep: Address,
    readonly spte: Spte,
  ) {
    super(`SPTE at 0x${sptep.toString(16)} is 0x${spte.toString(16)}, allowed: present leaves`);
  }
}

/** The full leaf tables of level 1 below one root, for what a measurement does to them without an MMU. */
export class LeafTables {
  readonly leaves: number;
  private readonly tables: Address[] = [];

  constructor(
    private readonly machine: ThreadMachine,
    private readonly format: SpteFormat,
    /** @throws MissingLeafError if there is a table with an entry that maps nothing */
    root: Address,
  ) {
    this.collect(root, ROOT_LEVEL);
    // The bare loop goes forwards through memory, which is the order that hardware prefetches.
    this.tables.sort((before, after) => before - after);
    this.leaves = this.tables.length * ENTRIES;
  }

  /** Nanoseconds per leaf of `scan`: the least of `ROUNDS` of them, each over freshly set bits. */
  scanNs(share: number, scan: () => void): number {
    const rounds: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      this.setYoung(share);
      rounds.push(timeNs(scan) / this.leaves);
    }
    return leastOf(rounds);
  }

  /** Baseline: the native loop over the same words and nothing else. */
  bareScan(): void {
    const { atomics64 } = this.machine.arena;
    const { shadowAccessedMask } = this.format;
    const young = MMU_PRESENT | shadowAccessedMask;
    for (const table of this.tables) {
      atomics64.clearBitsWhereCmpxchg(table, ENTRIES, young, young, shadowAccessedMask);
    }
  }

  /** Sets A in the given share of the leaves, evenly but not in step with the tables. */
  private setYoung(share: number): void {
    const accessed = this.format.shadowAccessedMask;
    const { u64 } = this.machine.arena;
    let credit = 0;
    for (const table of this.tables) {
      for (let index = 0; index < ENTRIES; index++) {
        credit += share;
        const word = (table >>> 3) + index;
        const young = credit >= 1;
        if (young) credit -= 1;
        u64[word] = young ? u64[word]! | accessed : u64[word]! & ~accessed;
      }
    }
  }

  private collect(table: Address, level: number): void {
    if (level === 1) this.tables.push(table);
    for (let index = 0; index < ENTRIES; index++) {
      const sptep = offset(table, index * 8);
      const spte = this.machine.arena.u64[sptep >>> 3] as Spte;
      const present = isShadowPresentPte(spte);
      if (level === 1 && !present) throw new MissingLeafError(sptep, spte);
      if (level === 1 || !present || isLargePte(spte)) continue;
      this.collect((spteToPfn(this.format, spte) * FRAME_BYTES) as Address, level - 1);
    }
  }
}
