import type { TraceRecord } from "../schema/trace-record.js";
import { LineReader, type TraceReadOptions } from "./line-reader.js";
import { LineSplitter } from "./line-splitter.js";
import type { TraceReadReport } from "./trace-read-report.js";

/** A trace that is being read: iterate it once for batches of records. */
export interface TraceReader extends AsyncIterable<readonly TraceRecord[]> {
  /** What was met so far; complete when the iteration has ended. */
  readonly report: TraceReadReport;
}

async function* batches(
  source: AsyncIterable<Uint8Array>,
  splitter: LineSplitter,
): AsyncGenerator<readonly TraceRecord[]> {
  for await (const chunk of source) {
    const records = splitter.take(chunk);
    if (records.length > 0) yield records;
  }
  const last = splitter.finish();
  if (last.length > 0) yield last;
}

/**
 * Reads a trace chunk by chunk, in memory that does not grow with it: text of the kernel's `trace` or `trace_pipe`, of `trace-cmd report` or
 * of `perf script`, also mixed. Names and notes are UTF-8; bytes that are none become U+FFFD.
 *
 * The iteration throws `DamagedLineError` at the first damaged line, if `strict`, and what `source` throws.
 */
export function readTrace(source: AsyncIterable<Uint8Array>, options: TraceReadOptions = {}): TraceReader {
  const reader = new LineReader(options);
  const splitter = new LineSplitter(reader);
  return {
    get report() {
      return reader.report;
    },
    [Symbol.asyncIterator]: () => batches(source, splitter),
  };
}
