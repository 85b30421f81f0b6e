import type { HeatMap, TraceIdentity } from "@kvm-age/trace";
import { collectProvenance } from "../results/provenance.js";
import { TRACE_HEATMAP_SCHEMA_ID, type TraceHeatmapResult } from "../results/trace-heatmap-result.js";
import { hex } from "./hex.js";
import { identityFigures } from "./read-figures.js";

/** A heat map as `--json` prints it. */
export function heatmapResult(
  file: string,
  identity: TraceIdentity,
  agingCalls: number,
  map: HeatMap,
): TraceHeatmapResult {
  return {
    schema: TRACE_HEATMAP_SCHEMA_ID,
    provenance: collectProvenance(),
    file,
    identity: identityFigures(identity),
    agingCalls,
    fromNs: map.fromNs,
    columnNs: map.columnNs,
    columns: map.columns,
    max: map.max,
    rows: map.rows.map(({ gfn, pages, cells }) => ({ gfn: hex(gfn), pages, cells: [...cells] })),
  };
}
