import { z } from "zod";
import { MMUS } from "../vm/mmu-shape.js";
import { accessTrackingResultSchema } from "./access-tracking-result.js";
import { mmuStressResultSchema } from "./mmu-stress-result.js";
import { nestedResultSchema } from "./nested-result.js";
import { replayResultSchema } from "./replay-result.js";

/** Name and version of the format; changes whenever a field comes, goes away or changes its meaning. */
export const COMPARE_SCHEMA_ID = "kvm-age/compare@2";

/** Verdicts of a comparison. */
export const VERDICTS = ["a better", "b better", "not distinguishable"] as const;
export type Verdict = (typeof VERDICTS)[number];

const metricSchema = z.strictObject({
  name: z.string(),
  unit: z.string().describe("s, ns, count or share"),
  better: z.enum(["lower", "higher"]),
  headline: z.boolean().describe("whether it belongs in a short table"),
  aMedian: z.number(),
  bMedian: z.number(),
  aSpread: z.number().describe("median absolute deviation from the median"),
  bSpread: z.number().describe("median absolute deviation from the median"),
  ratio: z.number().nullable().describe("bMedian / aMedian; null when aMedian is 0"),
  pValue: z.number().min(0).max(1).describe("two-sided exact rank-sum test of this metric alone"),
  pAdjusted: z
    .number()
    .min(0)
    .max(1)
    .describe("pValue adjusted for the number of metrics (Benjamini, Hochberg)"),
  verdict: z.enum(VERDICTS),
});
export type CompareMetric = z.infer<typeof metricSchema>;

const sideSchema = z.strictObject({
  label: z.string(),
  results: z.array(
    z.discriminatedUnion("schema", [
      accessTrackingResultSchema,
      replayResultSchema,
      mmuStressResultSchema,
      nestedResultSchema,
    ]),
  ),
});

/** Result of comparing two policies under one scenario. */
export const compareResultSchema = z.strictObject({
  schema: z.literal(COMPARE_SCHEMA_ID),
  scenario: z.string(),
  mmu: z.enum(MMUS).describe("what mapped the guest's memory on both sides"),
  a: sideSchema,
  b: sideSchema,
  interrupted: z.boolean(),
  metrics: z.array(metricSchema),
  warnings: z.array(z.string()),
  conclusion: z.string(),
});
export type CompareResult = z.infer<typeof compareResultSchema>;
