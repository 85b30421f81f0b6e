import type { HeatMap, TraceIdentity } from "@kvm-age/trace";
import { formatCount } from "../terminal/format-quantity.js";
import { escapeXml, heatmapDescription, heatmapSvg } from "./heatmap-svg.js";
import { hex } from "./hex.js";

/** The rows as a table, for those who do not see the drawing. */
function tableRows(map: HeatMap): string[] {
  return map.rows.map(({ gfn, pages, cells }) => {
    const young = cells.reduce<number>((sum, cell) => sum + (cell ?? 0), 0);
    const columns = cells.filter((cell) => (cell ?? 0) > 0).length;
    const frames = `${hex(gfn)} to ${hex(gfn + pages - 1)}`;
    return `<tr><th scope="row">${frames}</th><td>${formatCount(young)}</td><td>${columns} of ${map.columns}</td></tr>`;
  });
}

/** A heat map as a page that needs nothing else: the drawing, what it shows, and its rows as a table. */
export function heatmapHtml(map: HeatMap, identity: TraceIdentity, file: string): string {
  const title = escapeXml(`Young answers in ${file}`);
  return `${[
    "<!doctype html>",
    '<html lang="en">',
    `<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>`,
    "<style>body{font-family:sans-serif;margin:2rem;color:#222;background:#fff}svg{max-width:100%;height:auto}",
    "table{border-collapse:collapse}th,td{padding:.2rem .8rem;border-bottom:1px solid #ccc;text-align:right}</style></head>",
    `<body><main><h1>${title}</h1>`,
    `<p>${escapeXml(heatmapDescription(map))}</p>`,
    heatmapSvg(map, identity, file).trimEnd(),
    "<h2>By guest frame</h2>",
    '<table><thead><tr><th scope="col">guest frames</th><th scope="col">young answers</th><th scope="col">columns with any</th></tr></thead>',
    `<tbody>${tableRows(map).join("\n")}</tbody></table>`,
    "</main></body></html>",
  ].join("\n")}\n`;
}
