import { z } from "zod";
import { accessTrackingResultSchema } from "./access-tracking-result.js";
import { compareResultSchema } from "./compare-result.js";
import { decodeResultSchema } from "./decode-result.js";
import { mmuStressResultSchema } from "./mmu-stress-result.js";
import { nestedResultSchema } from "./nested-result.js";
import { replayResultSchema } from "./replay-result.js";

const SCHEMAS = {
  "access-tracking": accessTrackingResultSchema,
  replay: replayResultSchema,
  "mmu-stress": mmuStressResultSchema,
  nested: nestedResultSchema,
  compare: compareResultSchema,
  decode: decodeResultSchema,
} as const;

/** Kinds of results that have a published schema. */
export type SchemaName = keyof typeof SCHEMAS;
export const SCHEMA_NAMES: readonly SchemaName[] = Object.keys(SCHEMAS) as SchemaName[];

/** The JSON Schema (draft 2020-12) of a result, as it is published in `schemas/`. */
export function publishedSchema(name: SchemaName): object {
  return z.toJSONSchema(SCHEMAS[name], { target: "draft-2020-12" });
}
