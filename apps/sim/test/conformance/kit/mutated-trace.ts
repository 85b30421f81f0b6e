import { replayTrace } from "../../../src/conformance/replay/replay-trace.js";
import type { ConformanceReport } from "../../../src/conformance/report/conformance-report.js";
import { kernelTraceText, recordsOf } from "./kernel-traces.js";

/** One line of a trace that is changed, and how. */
export interface Mutation {
  /** `mode/scenario`. */
  readonly trace: string;
  /** What of a line is changed; the lines that match are candidates. */
  readonly pattern: RegExp;
  /** Which candidate, from 0. */
  readonly nth: number;
  /** The new text for what matches; null drops the whole line. */
  readonly change: ((found: string) => string) | null;
}

/** What a replay of a mutated trace finds. */
export interface MutationFound {
  /** Line that was changed, from 1. */
  readonly line: number;
  readonly report: ConformanceReport;
}

/** Replays a trace with one line changed; numbers of the other lines stay as they were. */
export function replayMutated({ trace, pattern, nth, change }: Mutation): MutationFound {
  const lines = kernelTraceText(trace).split("\n");
  const candidates = lines.flatMap((line, index) => (pattern.test(line) ? [index] : []));
  const index = candidates[nth];
  if (index === undefined) throw new Error(`${trace} has ${candidates.length} lines with ${pattern}`);
  // A header line takes the place of one that is dropped.
  lines[index] = change === null ? "#" : lines[index]!.replace(pattern, change);
  return { line: index + 1, report: replayTrace(recordsOf(lines.join("\n"))) };
}

/** Flips a bit of a number in hexadecimal. */
export function flipBit(bit: number): (hexadecimal: string) => string {
  return (hexadecimal) => (BigInt(`0x${hexadecimal}`) ^ (1n << BigInt(bit))).toString(16);
}
