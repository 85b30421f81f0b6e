import { z } from "zod";
import { replayOptionsSchema } from "../options/replay-options.js";
import { machineFigures } from "./machine-figures.js";
import { count, seconds, share } from "./measures.js";
import { provenanceSchema } from "./provenance.js";

/** Name and version of the format; changes whenever a field comes, goes away or changes its meaning. */
export const REPLAY_SCHEMA_ID = "kvm-age/replay@2";

const traceSchema = z.strictObject({
  path: z.string(),
  lines: count.describe("accesses: loads + stores + modifies"),
  loads: count,
  stores: count,
  modifies: count,
  pages: count.describe("distinct 4 KiB pages"),
  writtenPages: count.describe("distinct pages with a store or modify"),
  footprintBytes: count.describe("pages x 4096"),
});

const agingSchema = z.strictObject({
  cadenceMs: count,
  passes: count,
  passSeconds: z.strictObject({ mean: seconds, p50: seconds, p99: seconds, max: seconds }),
  idlePages: count.describe("pages reported idle, summed over all passes"),
});

const accuracySchema = z.strictObject({
  idleReports: count.describe("pages reported idle, each pass anew"),
  wronglyIdleReports: count.describe("of these, pages the vCPUs had used since the pass before"),
  wronglyIdleShare: share.describe("wronglyIdleReports / idleReports; 0 without reports"),
  idleTruePositives: count.describe("pages reported idle that were"),
  missedIdle: count.describe("unused pages that were not reported"),
});

const reclaimSchema = z.strictObject({
  cadenceMs: count.describe("0: no reclaim"),
  limitPages: count,
  reclaimedPages: count,
  keptYoung: count.describe("candidates kept because they were young"),
  swappedOutPages: count,
});

/** Result of the scenario `replay`. */
export const replayResultSchema = z
  .strictObject({
    schema: z.literal(REPLAY_SCHEMA_ID),
    provenance: provenanceSchema,
    options: replayOptionsSchema,
    seed: count,
    interrupted: z.boolean(),
    warnings: z.array(z.string()),
    trace: traceSchema,
    vcpus: z.array(
      z.strictObject({
        vcpu: count,
        seconds,
        accesses: count,
        tlbHits: count,
        faults: count,
        refaults: count,
      }),
    ),
    faults: count,
    refaults: count.describe("faults on pages that reclaim had swapped out"),
    aging: agingSchema,
    accuracy: accuracySchema,
    reclaim: reclaimSchema,
    ...machineFigures,
  })
  .meta({ id: "ReplayResult" });
export type ReplayResult = z.infer<typeof replayResultSchema>;
