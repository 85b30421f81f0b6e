import { z } from "zod";
import { accessTrackingOptionsSchema } from "../options/access-tracking-options.js";
import { agingPassesShape } from "./aging-passes.js";
import { machineFigures } from "./machine-figures.js";
import { count, seconds } from "./measures.js";
import { provenanceSchema } from "./provenance.js";

/** Name and version of the format; changes whenever a field comes, goes away or changes its meaning. */
export const ACCESS_TRACKING_SCHEMA_ID = "kvm-age/access-tracking@2";

const phaseSchema = z.strictObject({
  name: z.string().describe("the selftest's description, e.g. Populating memory"),
  seconds: seconds.describe("from releasing all vCPU threads to the last one done"),
  vcpus: z.array(z.strictObject({ vcpu: count, seconds })),
});

const agingDuringFaultsSchema = z.strictObject({
  ...agingPassesShape,
  vcpuWallSeconds: seconds.describe("slowest vCPU, populating"),
  idlePages: count.describe("pages found still idle, summed over the passes"),
});

const idleCheckSchema = z.strictObject({
  phaseIndex: count.describe("which entry of phases did the marking"),
  vcpu: count,
  pages: count,
  stillIdlePages: count.describe("pages already marked idle although accessed since they were marked"),
  noPfnPages: count.describe("pages with no page frame to mark"),
});

/** Result of the scenario `access-tracking`. */
export const accessTrackingResultSchema = z
  .strictObject({
    schema: z.literal(ACCESS_TRACKING_SCHEMA_ID),
    provenance: provenanceSchema,
    options: accessTrackingOptionsSchema,
    seed: count,
    interrupted: z.boolean(),
    warnings: z.array(z.string()),
    guestTestMemory: z.strictObject({ startGpa: count, endGpa: count.describe("exclusive") }),
    phases: z.array(phaseSchema),
    agingDuringFaults: agingDuringFaultsSchema.nullable(),
    idleChecks: z.array(idleCheckSchema),
    ...machineFigures,
  })
  .meta({ id: "AccessTrackingResult" });
export type AccessTrackingResult = z.infer<typeof accessTrackingResultSchema>;
export type IdleCheck = z.infer<typeof idleCheckSchema>;
