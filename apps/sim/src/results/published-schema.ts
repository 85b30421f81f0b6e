import { z } from "zod";
import { accessTrackingResultSchema } from "./access-tracking-result.js";
import { compareResultSchema } from "./compare-result.js";
import { decodeResultSchema } from "./decode-result.js";
import { mmuStressResultSchema } from "./mmu-stress-result.js";
import { nestedResultSchema } from "./nested-result.js";
import { replayResultSchema } from "./replay-result.js";
import { traceCheckResultSchema } from "./trace-check-result.js";
import { traceConformResultSchema } from "./trace-conform-result.js";
import { traceHeatmapResultSchema } from "./trace-heatmap-result.js";
import { tracePageResultSchema } from "./trace-page-result.js";
import { traceSummaryResultSchema } from "./trace-summary-result.js";

const SCHEMAS = {
  "access-tracking": accessTrackingResultSchema,
  replay: replayResultSchema,
  "mmu-stress": mmuStressResultSchema,
  nested: nestedResultSchema,
  compare: compareResultSchema,
  decode: decodeResultSchema,
  "trace-summary": traceSummaryResultSchema,
  "trace-page": tracePageResultSchema,
  "trace-heatmap": traceHeatmapResultSchema,
  "trace-check": traceCheckResultSchema,
  "trace-conform": traceConformResultSchema,
} as const;

/** Kinds of results that have a published schema. */
export type SchemaName = keyof typeof SCHEMAS;
export const SCHEMA_NAMES: readonly SchemaName[] = Object.keys(SCHEMAS) as SchemaName[];

/** The JSON Schema (draft 2020-12) of a result, as it is published in `schemas/`. */
export function publishedSchema(name: SchemaName): object {
  return z.toJSONSchema(SCHEMAS[name], { target: "draft-2020-12" });
}
