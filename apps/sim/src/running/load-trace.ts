import { CHUNK_LINES, packAccess, type RecordedTrace } from "../actors/recorded-trace.js";
import type { AccessBatch } from "../lackey/access-batch.js";
import { PageNumbering } from "../lackey/page-numbering.js";
import { readLackeyTrace } from "../lackey/read-lackey-trace.js";
import { TraceCounter, type TraceSummary } from "../lackey/summarize-trace.js";

/** A trace ready for replay, and what is in it. */
export interface LoadedTrace {
  readonly trace: RecordedTrace;
  readonly summary: TraceSummary;
}

/** Packs batches into shared chunks, with dense page indices. */
class TracePacker {
  private readonly numbering = new PageNumbering();
  private readonly chunks: SharedArrayBuffer[] = [];
  private chunk: Uint32Array<ArrayBufferLike> = new Uint32Array(0);
  private lines = 0;

  add(batch: AccessBatch): void {
    for (let access = 0; access < batch.pages.length; access++) {
      const position = this.lines % CHUNK_LINES;
      if (position === 0) this.startChunk();
      this.chunk[position] = packAccess(this.numbering.indexOf(batch.pages[access]!), batch.kinds[access]!);
      this.lines++;
    }
  }

  finish(): RecordedTrace {
    return { chunks: this.chunks, lines: this.lines };
  }

  private startChunk(): void {
    const buffer = new SharedArrayBuffer(CHUNK_LINES * 4);
    this.chunks.push(buffer);
    this.chunk = new Uint32Array(buffer);
  }
}

/**
 * Reads a trace as a stream into shared memory, 4 bytes a line.
 *
 * @throws the errors of `readLackeyTrace`.
 */
export async function loadTrace(path: string): Promise<LoadedTrace> {
  const packer = new TracePacker();
  const counter = new TraceCounter();
  for await (const batch of readLackeyTrace(path)) {
    counter.add(batch);
    packer.add(batch);
  }
  return { trace: packer.finish(), summary: counter.summary() };
}
