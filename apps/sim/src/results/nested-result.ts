import { z } from "zod";
import { NESTED_SETS } from "../actors/programs/nested/nested-sets.js";
import { nestedOptionsSchema } from "../options/nested-options.js";
import { agingPassesShape } from "./aging-passes.js";
import { machineFigures } from "./machine-figures.js";
import { count, seconds } from "./measures.js";
import { provenanceSchema } from "./provenance.js";

/** Name and version of the format; changes whenever a field comes, goes away or changes its meaning. */
export const NESTED_SCHEMA_ID = "kvm-age/nested@1";

const alternationSchema = z
  .strictObject({
    seconds: seconds.describe("until the slowest vCPU had done all its rounds"),
    vcpus: z.array(z.strictObject({ vcpu: count, seconds })),
    ...agingPassesShape,
    falseYoung: count.describe(
      "pages that nobody accesses, called young by any pass but the first; each is an error",
    ),
  })
  .describe(
    "L1 and L2 in turns on each vCPU, while a thread ages the memory without pause; all 0 if interrupted before its end",
  );

const checkedSetSchema = z.strictObject({
  set: z.enum(NESTED_SETS).describe("whose hot set"),
  pages: count,
  used: z.boolean().describe("whether it was accessed since the pass before"),
  young: count.describe("pages that the pass called young: all if used, else none"),
});

const checkedPassSchema = z.strictObject({
  round: count,
  accessedBy: z.enum(NESTED_SETS).describe("who accessed its hot sets since the pass before"),
  seconds,
  sets: z.array(checkedSetSchema),
  testDisagreements: count.describe("pages on which test_young said otherwise than the clear_young after it"),
});

const accuracySchema = z.strictObject({
  trueYoung: count.describe("used pages called young"),
  falseIdle: count.describe("used pages called idle; each is an error"),
  trueIdle: count.describe("unused pages called idle"),
  falseYoung: count.describe("unused pages called young; each is an error"),
  testDisagreements: count.describe("each is an error"),
});

/** Result of the scenario `nested`. */
export const nestedResultSchema = z
  .strictObject({
    schema: z.literal(NESTED_SCHEMA_ID),
    provenance: provenanceSchema,
    options: nestedOptionsSchema,
    seed: count,
    interrupted: z.boolean(),
    warnings: z.array(z.string()),
    populateSeconds: seconds.describe(
      "every page written from L1, then from L2; 0 if interrupted before its end",
    ),
    alternation: alternationSchema,
    checks: z.array(checkedPassSchema),
    accuracy: accuracySchema.describe("of all checked passes, in pages"),
    ...machineFigures,
  })
  .meta({ id: "NestedResult" });
export type NestedResult = z.infer<typeof nestedResultSchema>;
export type CheckedPass = z.infer<typeof checkedPassSchema>;
