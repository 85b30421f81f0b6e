import type { NestedResult } from "../results/nested-result.js";
import { formatBytes, formatCount, formatDuration } from "../terminal/format-quantity.js";
import { renderTable } from "../terminal/render-table.js";
import type { Style } from "../terminal/style.js";
import { joinBlocks, lockWaitTable, machineLatencyTable, valueTable } from "./machine-tables.js";
import { mmuText } from "./mmu-text.js";

type Rows = (readonly [string, string])[];

function setUpRows({ options, memory }: NestedResult): Rows {
  const perVcpu = formatBytes(options.bytesPerVcpu);
  return [
    ["policy", options.policy],
    ["MMU", mmuText(options)],
    [
      "guest memory",
      `${options.vcpus} × ${perVcpu}, a quarter each hot in L1, in L2, in both and in neither`,
    ],
    ["arena", `${formatBytes(memory.arenaBytes)}, ${memory.arenaBytesPerGuestPage.toFixed(1)} bytes/page`],
  ];
}

function resultRows({ options, populateSeconds, alternation, accuracy }: NestedResult): Rows {
  const { passes, averagePassSeconds, falseYoung } = alternation;
  const used = `${formatCount(accuracy.trueYoung)} called young, ${formatCount(accuracy.falseIdle)} called idle`;
  const unused = `${formatCount(accuracy.trueIdle)} called idle, ${formatCount(accuracy.falseYoung)} called young`;
  return [
    ["populated in", formatDuration(populateSeconds)],
    [`${formatCount(options.rounds)} turns of L1 and L2`, formatDuration(alternation.seconds)],
    ["aging passes meanwhile", `${formatCount(passes)}, on average ${formatDuration(averagePassSeconds)}`],
    ["unused pages called young meanwhile", formatCount(falseYoung)],
    ["checked passes: used pages", used],
    ["checked passes: unused pages", unused],
    ["test_young against clear_young", `${formatCount(accuracy.testDisagreements)} disagreements`],
  ];
}

/** Young pages of each set after each kind of turn, all rounds together. */
function checkTable({ checks }: NestedResult, style: Style): string {
  if (checks.length === 0) return "";
  const rows = checks.map(({ round, accessedBy, sets }) => [
    String(round),
    accessedBy,
    ...sets.map(({ young, pages }) => `${formatCount(young)} / ${formatCount(pages)}`),
  ]);
  const head = ["round", "ran before the pass", ...checks[0]!.sets.map(({ set }) => `young: ${set}'s`)];
  return renderTable({ head, rows, leftColumns: [1] }, style);
}

/** A run of `nested` as tables. */
export function nestedText(result: NestedResult, style: Style): string {
  return joinBlocks([
    `Random seed: 0x${result.seed.toString(16)}`,
    valueTable([...setUpRows(result), ...resultRows(result)], style),
    checkTable(result, style),
    machineLatencyTable(result, style),
    lockWaitTable(result.lockWaits, style),
  ]);
}
