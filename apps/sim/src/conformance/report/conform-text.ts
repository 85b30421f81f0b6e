import type { ConformFile, TraceConformResult } from "../../results/trace-conform-result.js";
import { formatCount } from "../../terminal/format-quantity.js";
import { renderTable } from "../../terminal/render-table.js";
import type { Style } from "../../terminal/style.js";
import { identityText } from "../../trace-reports/identity-text.js";
import { COMPARED_KINDS } from "./conformance-report.js";
import { mismatchText } from "./mismatch-text.js";

const HEAD = [
  "trace",
  "read as",
  "events",
  "answers",
  "entries",
  "dirty words",
  "idle answers",
  "mismatches",
  "silent accesses",
  "causes inferred",
];

const LEGEND =
  "compared, or matched/compared where they differ; silent accesses and inferred causes are input that only later lines show";

/** The result for people: a row for each trace, then its first mismatches. */
export function conformText({ files }: TraceConformResult, style: Style): string {
  const table = renderTable({ head: HEAD, rows: files.map(row), leftColumns: [0, 1] }, style);
  const blocks = files.flatMap((file) => fileBlocks(file, style));
  return [`${table}\n(${LEGEND})`, ...blocks].join("\n\n");
}

function row({ read, identity, counts, inferences, mismatchCount }: ConformFile): string[] {
  return [
    read.file,
    identityText(identity),
    ...COMPARED_KINDS.map((kind) => countText(counts[kind])),
    formatCount(mismatchCount),
    formatCount(inferences.silentAccesses),
    formatCount(inferences.unpromptedOperations + inferences.unseenUnmaps),
  ];
}

function countText({ compared, matched }: { compared: number; matched: number }): string {
  if (compared === 0) return "-";
  return compared === matched ? formatCount(compared) : `${formatCount(matched)}/${formatCount(compared)}`;
}

function fileBlocks(file: ConformFile, style: Style): string[] {
  const { read, operations, replayedOperations, ignoredEvents, mismatches, mismatchCount } = file;
  const blocks: string[] = [];
  if (replayedOperations < operations) {
    const share = `${formatCount(replayedOperations)} of ${formatCount(operations)}`;
    blocks.push(`${read.file}: interrupted after ${share} operations`);
  }
  if (ignoredEvents.length > 0) {
    const names = ignoredEvents.map(({ name, count }) => `${formatCount(count)} ${name}`);
    blocks.push(`${read.file}: not compared, as they stand beside the MMU: ${names.join(", ")}`);
  }
  blocks.push(...mismatches.map((mismatch) => mismatchText(read.file, mismatch, style)));
  const more = mismatchCount - mismatches.length;
  if (more > 0) blocks.push(`${read.file}: ${formatCount(more)} more mismatches`);
  return blocks;
}
