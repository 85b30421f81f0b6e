import type { HeatMap, TraceIdentity } from "@kvm-age/trace";
import { formatCount, formatDuration } from "../terminal/format-quantity.js";
import { paint, type Style } from "../terminal/style.js";
import { type HeatStep, heatSteps, stepOf, stepText } from "./heat-steps.js";
import { hex } from "./hex.js";
import { identityText } from "./identity-text.js";

/** Blocks by heat; with colour they are told apart twice. */
const SHADES = [
  { block: "░", colour: null },
  { block: "▒", colour: "green" },
  { block: "▓", colour: "yellow" },
  { block: "█", colour: "red" },
] as const;
const NOT_YOUNG = "·";
const NOT_ASKED = " ";
const LABEL_GAP = 2;

/** Columns of text beside the cells: the widest row label, a gap, and a frame on both sides. */
export const HEATMAP_MARGIN = 20;

/** Shades for as many steps as there are, the darkest last. */
function shade(step: number, steps: number): (typeof SHADES)[number] {
  return SHADES[step + SHADES.length - steps]!;
}

function cellText(count: number | null, steps: readonly HeatStep[], style: Style): string {
  if (count === null) return NOT_ASKED;
  const step = stepOf(count, steps);
  if (step < 0) return NOT_YOUNG;
  const { block, colour } = shade(step, steps.length);
  return colour === null ? block : paint(style, colour, block);
}

function axis({ fromNs, columnNs, columns }: HeatMap, indent: string): string {
  const left = `${(fromNs * 1e-9).toFixed(6)} s`;
  const right = `${((fromNs + columnNs * columns) * 1e-9).toFixed(6)} s`;
  return `${indent} ${left}${right.padStart(Math.max(right.length + 1, columns - left.length))}`;
}

function legend(map: HeatMap, steps: readonly HeatStep[], style: Style): string {
  const shades = steps.map((step) => `${cellText(step.low, steps, style)} ${stepText(step)}`);
  const pages = map.rows[0]!.pages;
  return [
    `Cells count guest frames found young, each time they were: ${[`${NOT_YOUNG} none`, ...shades].join("  ")}; blank: not asked about`,
    `A row is ${formatCount(pages)} guest ${pages === 1 ? "frame" : "frames"}, a column ${formatDuration(map.columnNs * 1e-9)}`,
  ].join("\n");
}

/** A heat map as text: a row for guest frames, a column for time. */
export function heatmapText(map: HeatMap, identity: TraceIdentity, style: Style): string {
  const steps = heatSteps(map.max, SHADES.length);
  const labels = map.rows.map(({ gfn }) => `gfn ${hex(gfn)}`);
  const width = Math.max(...labels.map((label) => label.length));
  const indent = " ".repeat(width + LABEL_GAP);
  const rule = "─".repeat(map.columns);
  const rows = map.rows.flatMap(({ gfn, cells }, index) => {
    const before = map.rows[index - 1];
    const gap = before !== undefined && before.gfn + before.pages !== gfn ? [`${indent}┊`] : [];
    const text = cells.map((cell) => cellText(cell, steps, style)).join("");
    return [...gap, `${labels[index]!.padEnd(width)}  │${text}│`];
  });
  return [
    paint(style, "bold", "Young answers: guest frame × time"),
    identityText(identity),
    "",
    `${indent}┌${rule}┐`,
    ...rows,
    `${indent}└${rule}┘`,
    axis(map, indent),
    "",
    legend(map, steps, style),
  ].join("\n");
}
