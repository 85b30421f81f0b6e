import { z } from "zod";
import { count, nanoseconds } from "./measures.js";
import { provenanceSchema } from "./provenance.js";
import { hexText, traceIdentitySchema } from "./trace-read.js";

/** Name and version of the format; changes whenever a field comes, goes away or changes its meaning. */
export const TRACE_HEATMAP_SCHEMA_ID = "kvm-age/trace-heatmap@1";

/** What `kvm-age trace heatmap --json` prints. */
export const traceHeatmapResultSchema = z.strictObject({
  schema: z.literal(TRACE_HEATMAP_SCHEMA_ID),
  provenance: provenanceSchema,
  file: z.string(),
  identity: traceIdentitySchema,
  agingCalls: count,
  fromNs: nanoseconds.describe("start of the first column on the trace's clock"),
  columnNs: nanoseconds.describe("width of a column"),
  columns: count,
  max: count.describe("largest cell"),
  rows: z.array(
    z.strictObject({
      gfn: hexText.describe("first frame"),
      pages: count,
      cells: z
        .array(count.nullable())
        .describe("young answers, counted in frames, by column; null where the host did not ask"),
    }),
  ),
});
export type TraceHeatmapResult = z.infer<typeof traceHeatmapResultSchema>;
