import type { HeatMap, TraceIdentity } from "@kvm-age/trace";
import { formatCount, formatDuration } from "../terminal/format-quantity.js";
import { type HeatStep, heatSteps, stepOf, stepText } from "./heat-steps.js";
import { hex } from "./hex.js";
import { identityText } from "./identity-text.js";

const LEFT = 110;
const TOP = 64;
const BOTTOM = 96;
const RIGHT = 24;
const PLOT_WIDTH = 900;
const SMALLEST_ROW = 6;
const LARGEST_ROW = 18;
const PLOT_HEIGHT = 480;
const MOST_LABELS = 24;

const ASKED_COLOUR = "#e8e8ec";
/** From light to dark, of even lightness steps, so that they stay apart in print and for colour-blind eyes. */
const COLOURS = ["#fde0a2", "#fbb463", "#ef7b4c", "#cb3f5a", "#8a1c63", "#3b0f52"] as const;

/** Text for XML. */
export function escapeXml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

function colourOf(count: number, steps: readonly HeatStep[]): string {
  const step = stepOf(count, steps);
  return step < 0 ? ASKED_COLOUR : COLOURS[step + COLOURS.length - steps.length]!;
}

function seconds(ns: number): string {
  return (ns * 1e-9).toFixed(6);
}

interface Geometry {
  readonly rowHeight: number;
  readonly columnWidth: number;
  readonly height: number;
}

function geometryOf(map: HeatMap): Geometry {
  const rowHeight = Math.min(LARGEST_ROW, Math.max(SMALLEST_ROW, PLOT_HEIGHT / map.rows.length));
  return { rowHeight, columnWidth: PLOT_WIDTH / map.columns, height: rowHeight * map.rows.length };
}

function cells(map: HeatMap, { rowHeight, columnWidth }: Geometry, steps: readonly HeatStep[]): string[] {
  return map.rows.flatMap(({ gfn, pages, cells: counts }, row) =>
    counts.flatMap((count, column) => {
      if (count === null) return [];
      const [x, y] = [LEFT + column * columnWidth, TOP + row * rowHeight];
      const frames = `gfn ${hex(gfn)} to ${hex(gfn + pages - 1)}`;
      const title = `${frames}, from ${seconds(map.fromNs + column * map.columnNs)} s: ${count} young`;
      const box = `x="${x.toFixed(2)}" y="${y.toFixed(2)}" width="${columnWidth.toFixed(2)}" height="${rowHeight.toFixed(2)}"`;
      return [`<rect ${box} fill="${colourOf(count, steps)}"><title>${title}</title></rect>`];
    }),
  );
}

function rowLabels(map: HeatMap, { rowHeight }: Geometry): string[] {
  const every = Math.ceil(map.rows.length / MOST_LABELS);
  return map.rows.flatMap(({ gfn }, row) => {
    if (row % every !== 0) return [];
    const y = TOP + (row + 0.5) * rowHeight + 4;
    return [`<text x="${LEFT - 8}" y="${y.toFixed(1)}" text-anchor="end">${hex(gfn)}</text>`];
  });
}

function timeLabels(map: HeatMap, { height }: Geometry): string[] {
  return [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const anchor = part === 0 ? "start" : part === 1 ? "end" : "middle";
    const time = seconds(map.fromNs + part * map.columns * map.columnNs);
    return `<text x="${LEFT + part * PLOT_WIDTH}" y="${TOP + height + 18}" text-anchor="${anchor}">${time}</text>`;
  });
}

function legend(steps: readonly HeatStep[], top: number): string[] {
  const entries = [
    [ASKED_COLOUR, "asked, none young"] as const,
    ...steps.map((step) => [colourOf(step.low, steps), stepText(step)] as const),
  ];
  return entries.map(([colour, text], index) => {
    const x = LEFT + index * (PLOT_WIDTH / entries.length);
    return `<rect x="${x.toFixed(1)}" y="${top}" width="14" height="14" fill="${colour}"/><text x="${(x + 20).toFixed(1)}" y="${top + 12}">${text}</text>`;
  });
}

/** What the drawing shows, in a sentence or two. */
export function heatmapDescription(map: HeatMap): string {
  const [first] = map.rows;
  if (first === undefined) return "Nothing to draw: the trace shows no answers to aging calls.";
  const { pages } = first;
  const span = formatDuration(map.columns * map.columnNs * 1e-9);
  return (
    `${map.rows.length} rows of ${formatCount(pages)} guest frames, ${map.columns} columns of ${formatDuration(map.columnNs * 1e-9)}, ${span} in all. ` +
    `A cell counts guest frames that the host found young, each time it did; at most ${formatCount(map.max)}. Blank: not asked about.`
  );
}

/** A heat map as SVG that needs nothing else. */
export function heatmapSvg(map: HeatMap, identity: TraceIdentity, file: string): string {
  const steps = heatSteps(map.max, COLOURS.length);
  const geometry = geometryOf(map);
  const [width, height] = [LEFT + PLOT_WIDTH + RIGHT, TOP + geometry.height + BOTTOM];
  const title = `Young answers in ${file}: guest frame × time`;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="heatmap-title heatmap-description" font-family="sans-serif" font-size="12">`,
    `<title id="heatmap-title">${escapeXml(title)}</title>`,
    `<desc id="heatmap-description">${escapeXml(heatmapDescription(map))}</desc>`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    `<text x="${LEFT}" y="26" font-size="16" font-weight="bold">${escapeXml(title)}</text>`,
    `<text x="${LEFT}" y="46">${escapeXml(identityText(identity))}</text>`,
    ...cells(map, geometry, steps),
    `<rect x="${LEFT}" y="${TOP}" width="${PLOT_WIDTH}" height="${geometry.height}" fill="none" stroke="#555555"/>`,
    ...rowLabels(map, geometry),
    ...timeLabels(map, geometry),
    `<text x="${LEFT + PLOT_WIDTH / 2}" y="${TOP + geometry.height + 38}" text-anchor="middle">time of the trace clock, in seconds</text>`,
    `<text transform="rotate(-90)" x="${-(TOP + geometry.height / 2)}" y="18" text-anchor="middle">guest frame (gfn)</text>`,
    `<text x="${LEFT}" y="${TOP + geometry.height + 62}">guest frames found young in a cell:</text>`,
    ...legend(steps, TOP + geometry.height + 70),
    "</svg>",
  ].join("\n")}\n`;
}
