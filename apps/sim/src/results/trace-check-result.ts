import { LEGALITY_RULES, type LegalityRuleName } from "@kvm-age/trace";
import { z } from "zod";
import { count, nanoseconds } from "./measures.js";
import { provenanceSchema } from "./provenance.js";
import { hexText, traceIdentitySchema, traceReadSchema } from "./trace-read.js";

/** Name and version of the format; changes whenever a field comes, goes away or changes its meaning. */
export const TRACE_CHECK_SCHEMA_ID = "kvm-age/trace-check@1";

const RULE_NAMES = Object.keys(LEGALITY_RULES) as [LegalityRuleName, ...LegalityRuleName[]];

const historySchema = z.strictObject({
  line: count,
  timestampNs: nanoseconds,
  comm: z.string(),
  pid: count,
  event: z.string().describe("name of the event; `dump` for an entry that a VMM noted down"),
  oldSpte: hexText.nullable().describe("null where the event shows one value only"),
  newSpte: hexText,
  words: z.string().describe("the new value in words"),
});

const violationSchema = z.strictObject({
  line: count.describe("the line to blame; of two that contradict each other without a third, the later one"),
  text: z.string().describe("the line"),
  contradicts: count
    .nullable()
    .describe("another line that it contradicts; null if it is illegal on its own"),
  rule: z.enum(RULE_NAMES),
  statement: z.string().describe("what the rule demands"),
  source: z.string().describe("where the rule comes from"),
  detail: z.string(),
  entry: z
    .strictObject({ asId: count, gfn: hexText, level: count })
    .nullable()
    .describe("the entry that the line is about"),
  history: z.array(historySchema).describe("the last events of the entry, oldest first"),
});

/** What `kvm-age trace check --json` prints. */
export const traceCheckResultSchema = z
  .strictObject({
    schema: z.literal(TRACE_CHECK_SCHEMA_ID),
    provenance: provenanceSchema,
    identity: traceIdentitySchema,
    read: traceReadSchema,
    transitions: count.describe("values of entries that were judged; both values of a change count once"),
    unjudgedGaps: count.describe("places where events were lost: what entries hold is unknown after them"),
    assumedTables: count.describe("page tables that existed before the trace began, as far as it shows"),
    warnings: z
      .array(z.string())
      .describe("why the judgement may be wrong as a whole, e.g. several VMs in one trace"),
    violationCount: count,
    violations: z.array(violationSchema).describe("the first ones, as many as --max says"),
  })
  .meta({ id: "TraceCheckResult" });
export type TraceCheckResult = z.infer<typeof traceCheckResultSchema>;
export type CheckedViolation = TraceCheckResult["violations"][number];
