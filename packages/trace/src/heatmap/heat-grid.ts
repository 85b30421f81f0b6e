import type { AgedFrames, FrameRange } from "./aged-frames.js";

/** Counts of one block of guest frames, by column of time. */
interface BlockRow {
  readonly young: Float64Array;
  readonly asked: Float64Array;
}

/** What happened to a block in a column of time. */
export interface HeatCell {
  readonly block: number;
  readonly column: number;
  /** Frames found young, each time counted. */
  readonly young: number;
  /** Frames asked about, each time counted. */
  readonly asked: number;
}

/** Together with the blocks at most 16 MiB of counts. */
const COLUMNS = 512;
const MOST_BLOCKS = 2048;
const FINEST_COLUMN_NS = 1000;

/**
 * Counts by guest frame and time with an accuracy that adapts: columns of time get twice as wide when the trace gets longer than all of them,
 * and blocks of frames twice as large when there are too many. Memory does not grow beyond that, and a trace needs to be read only once.
 */
export class HeatGrid {
  readonly #rows = new Map<number, BlockRow>();
  #firstNs: number | null = null;
  #columnNs = FINEST_COLUMN_NS;
  #blockPages = 1;

  /** Start of the first column, in nanoseconds of the trace clock; null without counts. */
  get firstNs(): number | null {
    return this.#firstNs;
  }

  get columnNs(): number {
    return this.#columnNs;
  }

  /** Frames in a block; block `n` begins with frame `n * blockPages`. */
  get blockPages(): number {
    return this.#blockPages;
  }

  /** Adds the frames of a call. Times before the first one count as that. */
  add(timeNs: number, { asked, young }: AgedFrames): void {
    for (const range of asked) this.#addRange(timeNs, range, "asked");
    for (const range of young) this.#addRange(timeNs, range, "young");
  }

  #addRange(timeNs: number, { start, end }: FrameRange, what: keyof BlockRow): void {
    this.#firstNs ??= timeNs;
    while (this.#columnOf(timeNs) >= COLUMNS) this.#widenColumns();
    const column = Math.max(0, this.#columnOf(timeNs));
    while ((end - start) / this.#blockPages > MOST_BLOCKS) this.#enlargeBlocks();
    let gfn = start;
    while (gfn < end) {
      const block = Math.floor(gfn / this.#blockPages);
      const blockEnd = Math.min(end, (block + 1) * this.#blockPages);
      this.#count(block, column, blockEnd - gfn, what);
      gfn = blockEnd;
    }
    while (this.#rows.size > MOST_BLOCKS) this.#enlargeBlocks();
  }

  /** All cells with counts, in no order. */
  *cells(): Generator<HeatCell> {
    for (const [block, { young, asked }] of this.#rows) {
      for (let column = 0; column < COLUMNS; column++) {
        const any = asked[column]! + young[column]! > 0;
        if (any) yield { block, column, young: young[column]!, asked: asked[column]! };
      }
    }
  }

  #columnOf(timeNs: number): number {
    return Math.floor((timeNs - (this.#firstNs ?? timeNs)) / this.#columnNs);
  }

  #row(block: number): BlockRow {
    const row = this.#rows.get(block) ?? {
      young: new Float64Array(COLUMNS),
      asked: new Float64Array(COLUMNS),
    };
    this.#rows.set(block, row);
    return row;
  }

  #count(block: number, column: number, frames: number, what: keyof BlockRow): void {
    this.#row(block)[what][column]! += frames;
  }

  #widenColumns(): void {
    for (const { young, asked } of this.#rows.values()) {
      for (const counts of [young, asked]) {
        for (let column = 0; column < COLUMNS / 2; column++) {
          counts[column] = counts[2 * column]! + counts[2 * column + 1]!;
        }
        counts.fill(0, COLUMNS / 2);
      }
    }
    this.#columnNs *= 2;
  }

  #enlargeBlocks(): void {
    const before = [...this.#rows];
    this.#rows.clear();
    this.#blockPages *= 2;
    for (const [block, { young, asked }] of before) {
      const row = this.#row(Math.floor(block / 2));
      for (let column = 0; column < COLUMNS; column++) {
        row.young[column]! += young[column]!;
        row.asked[column]! += asked[column]!;
      }
    }
  }
}
