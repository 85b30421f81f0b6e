import { parseTraceText } from "@kvm-age/trace";
import { replayTrace } from "../conformance/replay/replay-trace.js";
import type { ConformanceReport } from "../conformance/report/conformance-report.js";
import { type BenchRow, perSecond, ratio } from "./bench-row.js";
import { modelTrace } from "./model-trace.js";
import { leastOf, timeNs } from "./timing.js";

const PAGES = 1 << 14;
const ROUNDS = 4;
const TIMES = 3;

/** Thrown when the packages do not conform to their own trace, so that what was measured is not what is meant. */
class SelfConformanceError extends Error {
  override readonly name = "SelfConformanceError";
  constructor({ counts, mismatches }: ConformanceReport) {
    const { compared, matched } = counts.event;
    super(
      `${matched} of ${compared} events of the model's own trace match; first mismatch: ${mismatches[0]?.what}`,
    );
  }
}

/** Events per second of a conformance replay, on a trace that the packages themselves made, beside reading the same text alone. */
export function benchConformance(): BenchRow[] {
  const text = modelTrace(PAGES, ROUNDS);
  const { records } = parseTraceText(text);
  const parsing = leastOf(Array.from({ length: TIMES }, () => timeNs(() => parseTraceText(text))));
  const replaying = leastOf(Array.from({ length: TIMES }, () => timeNs(() => replay(records))));
  return [
    {
      name: "conformance, events replayed and compared",
      figure: perSecond(records.length, replaying),
      baseline: `reading the text ${perSecond(records.length, parsing)}`,
      ratio: ratio(replaying, parsing),
      aim: "",
    },
  ];
}

function replay(records: Parameters<typeof replayTrace>[0]): void {
  const report = replayTrace(records);
  const { compared, matched } = report.counts.event;
  if (matched !== compared || matched === 0) throw new SelfConformanceError(report);
}
