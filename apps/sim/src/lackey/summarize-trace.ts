import type { AccessBatch } from "./access-batch.js";
import { LOAD, MODIFY, STORE } from "./access-kind.js";

const PAGE_BYTES = 4096;

/** What is in a trace, in counts. */
export interface TraceSummary {
  /** Accesses: loads + stores + modifies. */
  readonly lines: number;
  readonly loads: number;
  readonly stores: number;
  readonly modifies: number;
  /** Distinct 4 KiB pages. */
  readonly pages: number;
  /** Distinct pages with a store or modify. */
  readonly writtenPages: number;
  /** `pages` x 4096. */
  readonly footprintBytes: number;
  /** Lines of other kinds, which are not accesses to data. */
  readonly instructionLines: number;
  readonly bannerLines: number;
}

/** Counts a trace while its batches pass. */
export class TraceCounter {
  private readonly lines: [loads: number, stores: number, modifies: number] = [0, 0, 0];
  private readonly pages = new Set<number>();
  private readonly writtenPages = new Set<number>();
  private instructionLines = 0;
  private bannerLines = 0;

  add(batch: AccessBatch): void {
    for (let access = 0; access < batch.pages.length; access++) {
      const kind = batch.kinds[access] as 0 | 1 | 2;
      this.lines[kind]++;
      this.pages.add(batch.pages[access]!);
      if (kind !== LOAD) this.writtenPages.add(batch.pages[access]!);
    }
    this.instructionLines += batch.instructionLines;
    this.bannerLines += batch.bannerLines;
  }

  summary(): TraceSummary {
    const { lines, pages, writtenPages, instructionLines, bannerLines } = this;
    return {
      lines: lines[LOAD] + lines[STORE] + lines[MODIFY],
      loads: lines[LOAD],
      stores: lines[STORE],
      modifies: lines[MODIFY],
      pages: pages.size,
      writtenPages: writtenPages.size,
      footprintBytes: pages.size * PAGE_BYTES,
      instructionLines,
      bannerLines,
    };
  }
}

/** Reads all batches, e.g. of `readLackeyTrace`, and counts what is in them. */
export async function summarizeTrace(batches: AsyncIterable<AccessBatch>): Promise<TraceSummary> {
  const counter = new TraceCounter();
  for await (const batch of batches) counter.add(batch);
  return counter.summary();
}
