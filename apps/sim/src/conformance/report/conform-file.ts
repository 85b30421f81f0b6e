import { KVM_EVENT_SHAPES } from "@kvm-age/trace";
import type { ConformFile } from "../../results/trace-conform-result.js";
import type { KernelTrace } from "../../trace-reports/open-kernel-trace.js";
import { identityFigures, readFigures } from "../../trace-reports/read-figures.js";
import { isReplayedEvent } from "../compare/replayed-events.js";
import type { StartedReplay } from "../replay/replay-trace.js";
import { explainMismatch } from "./explain-mismatch.js";
import { OperationsByLine } from "./operations-by-line.js";

/** A replay that has ended, or was interrupted. */
export interface EndedReplay {
  readonly path: string;
  readonly trace: KernelTrace;
  readonly replay: StartedReplay;
  readonly replayedOperations: number;
}

/** What a replay found, as `--json` prints it. @param most mismatches that are explained */
export function conformFile(
  { path, trace, replay, replayedOperations }: EndedReplay,
  most: number,
): ConformFile {
  const { identity, operations, report } = replay;
  const byLine = new OperationsByLine(operations);
  const explained = report.mismatches
    .slice(0, most)
    .map((mismatch) => explainMismatch(identity.format, byLine, mismatch));
  return {
    identity: identityFigures(identity),
    tuning: replay.tuning,
    read: readFigures(path, trace, false),
    operations: operations.length,
    replayedOperations,
    counts: report.counts,
    inferences: replay.inferences(),
    ignoredEvents: ignoredEvents(trace),
    mismatchCount: report.mismatches.length,
    mismatches: explained.map((one) => ({ ...one, fields: [...one.fields], words: [...one.words] })),
  };
}

function ignoredEvents(trace: KernelTrace): ConformFile["ignoredEvents"] {
  return [...trace.report().events]
    .map(([name, count]) => ({ name, count }))
    .filter(({ name }) => Object.hasOwn(KVM_EVENT_SHAPES, name) && !isReplayedEvent(name));
}
