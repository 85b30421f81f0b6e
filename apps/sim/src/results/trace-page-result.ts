import { z } from "zod";
import { count, nanoseconds } from "./measures.js";
import { provenanceSchema } from "./provenance.js";
import { hexText, traceIdentitySchema } from "./trace-read.js";

/** Name and version of the format; changes whenever a field comes, goes away or changes its meaning. */
export const TRACE_PAGE_SCHEMA_ID = "kvm-age/trace-page@1";

const spteSchema = z.strictObject({
  gfn: hexText.describe("first frame that the entry maps"),
  level: z.int().min(1).max(5).nullable(),
  before: hexText.nullable().describe("null if the event does not show it"),
  after: hexText,
  kind: z.enum(["leaf", "non-leaf", "mmio", "frozen", "non-present", "pdpte"]).describe("of the value after"),
  states: z.array(z.string()).describe("the value after, in words"),
  changes: z
    .array(
      z.strictObject({
        bits: z.string(),
        name: z.string(),
        before: hexText,
        after: hexText,
        meaning: z.string(),
      }),
    )
    .describe("field by field; empty if the value before is not known"),
});

/** What `kvm-age trace page --json` prints. */
export const tracePageResultSchema = z.strictObject({
  schema: z.literal(TRACE_PAGE_SCHEMA_ID),
  provenance: provenanceSchema,
  file: z.string(),
  identity: traceIdentitySchema,
  gfn: hexText,
  gpa: hexText,
  hvas: z.array(hexText).describe("where the frame stands, or stood, in the host; empty if not known"),
  events: z.array(
    z.strictObject({
      line: count,
      timestampNs: nanoseconds,
      comm: z.string(),
      pid: count,
      cpu: count,
      event: z.string().describe("name of the event; `note` for text written to trace_marker"),
      what: z.string(),
      spte: spteSchema.nullable(),
    }),
  ),
});
export type TracePageResult = z.infer<typeof tracePageResultSchema>;
export type TracePageEvent = TracePageResult["events"][number];
