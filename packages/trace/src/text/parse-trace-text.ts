import type { TraceRecord } from "../schema/trace-record.js";
import { LineReader, type TraceReadOptions } from "./line-reader.js";
import { LineSplitter } from "./line-splitter.js";
import type { TraceReadReport } from "./trace-read-report.js";

/** A trace in memory. */
export interface ParsedTrace {
  readonly records: TraceRecord[];
  readonly report: TraceReadReport;
}

/**
 * Reads a trace that is in memory as a whole: text of the kernel's `trace` file, of `trace-cmd report` or of `perf script`.
 *
 * @throws {DamagedLineError} at the first damaged line, if `strict`.
 */
export function parseTraceText(text: string, options: TraceReadOptions = {}): ParsedTrace {
  const reader = new LineReader(options);
  const splitter = new LineSplitter(reader);
  const records = splitter.take(Buffer.from(text));
  records.push(...splitter.finish());
  return { records, report: reader.report };
}
