import { z } from "zod";
import { count, nanoseconds } from "./measures.js";

/** A distribution of durations; all 0 when nothing was recorded. */
export const latencySummarySchema = z
  .strictObject({
    count,
    meanNs: nanoseconds,
    p50Ns: nanoseconds,
    p90Ns: nanoseconds,
    p99Ns: nanoseconds,
    p999Ns: nanoseconds,
    maxNs: nanoseconds,
  })
  .meta({ id: "LatencySummary" });
export type LatencySummary = z.infer<typeof latencySummarySchema>;
