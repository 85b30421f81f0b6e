import { PageRanges } from "./page-ranges.js";

/** Guest frames that host-virtual memory backs, in a row. */
export interface GuestMemoryRange {
  /** First guest frame. */
  readonly gfn: number;
  /** Host-virtual address of its first byte, a multiple of 4096. */
  readonly hva: number;
  readonly pages: number;
}

const PAGE_BYTES = 4096;

/**
 * Which guest frame stands at which host-virtual address, as far as known. One address may back several frames, and after a slot has moved
 * one frame may have had several addresses. Memory grows with the number of gaps, not of pages.
 */
export class GuestMemoryMap {
  /** Known gfns by hva page minus gfn. Every slot has one such difference. */
  readonly #gfnsByOffset = new Map<number, PageRanges>();

  add({ gfn, hva, pages }: GuestMemoryRange): void {
    const offset = Math.floor(hva / PAGE_BYTES) - gfn;
    const known = this.#gfnsByOffset.get(offset) ?? new PageRanges();
    this.#gfnsByOffset.set(offset, known);
    known.add(gfn, gfn + pages);
  }

  /** Frames at the page that contains the address. */
  gfnsOf(hva: number): readonly number[] {
    const page = Math.floor(hva / PAGE_BYTES);
    const gfns: number[] = [];
    for (const [offset, known] of this.#gfnsByOffset) if (known.has(page - offset)) gfns.push(page - offset);
    return gfns;
  }

  /** Addresses at which the frame is known to stand, or to have stood. */
  hvasOf(gfn: number): readonly number[] {
    return [...this.#gfnsByOffset]
      .filter(([, gfns]) => gfns.has(gfn))
      .map(([offset]) => (gfn + offset) * PAGE_BYTES);
  }

  /** All that is known, by ascending gfn. */
  get ranges(): readonly GuestMemoryRange[] {
    return [...this.#gfnsByOffset]
      .flatMap(([offset, gfns]) =>
        gfns.ranges.map(([start, end]) => ({
          gfn: start,
          hva: (start + offset) * PAGE_BYTES,
          pages: end - start,
        })),
      )
      .sort((a, b) => a.gfn - b.gfn);
  }
}
