import { z } from "zod";
import { count } from "./measures.js";
import { provenanceSchema } from "./provenance.js";
import { traceIdentitySchema, traceReadSchema } from "./trace-read.js";

/** Name and version of the format; changes whenever a field comes, goes away or changes its meaning. */
export const TRACE_CONFORM_SCHEMA_ID = "kvm-age/trace-conform@1";

const comparedSchema = z.strictObject({ compared: count, matched: count }).meta({ id: "Compared" });

const countsSchema = z.strictObject({
  event: comparedSchema.describe("events of the MMU, field by field"),
  answer: comparedSchema.describe("ranges and return values that probes show, roots that vCPUs load"),
  entry: comparedSchema.describe("entries of walks of the live page tables"),
  bitmap: comparedSchema.describe("words of dirty bitmaps, and numbers of dirty pages"),
  idle: comparedSchema.describe("answers of the host's idle bitmap"),
});

const inferencesSchema = z
  .strictObject({
    vms: count.describe("VMs that the trace is taken to show"),
    slots: count.describe("memory slots whose place was inferred; 0 if notes describe them"),
    silentAccesses: count.describe("accesses of the guest that only later lines show"),
    unseenUnmaps: count.describe("leaves whose invalidation shows only by its effect"),
    unpromptedOperations: count.describe("runs of outputs whose cause was inferred from what they are"),
  })
  .describe("input that the trace does not say, taken from what comes later in it");

const tuningSchema = z
  .strictObject({
    proveMmu: z.boolean().describe("CONFIG_KVM_PROVE_MMU"),
    nxHugePages: z.boolean().describe("nx_huge_pages"),
    cpuDirtyLog: z.boolean().describe("kvm_intel.pml"),
    eagerPageSplit: z.boolean().describe("eager_page_split"),
    slotZapAll: z.boolean().describe("KVM_X86_QUIRK_SLOT_ZAP_ALL"),
  })
  .describe("what the trace shows of the recorded kernel; its defaults where it shows nothing");

const mismatchSchema = z.strictObject({
  kind: z.enum(["event", "answer", "entry", "bitmap", "idle"]),
  line: count.describe("of the trace"),
  what: z.string(),
  kernel: z.string(),
  model: z.string(),
  fields: z.array(z.string()).describe("fields that differ, for events"),
  words: z.array(z.string()).describe("how the SPTEs of these fields differ, the kernel's first"),
  operation: z
    .strictObject({ line: count, text: z.string() })
    .nullable()
    .describe("what the kernel was doing, and the line that began it"),
});

const fileSchema = z.strictObject({
  identity: traceIdentitySchema,
  tuning: tuningSchema,
  read: traceReadSchema,
  operations: count.describe("what the trace consists of"),
  replayedOperations: count.describe("fewer than operations if the user interrupted"),
  counts: countsSchema,
  inferences: inferencesSchema,
  ignoredEvents: z
    .array(z.strictObject({ name: z.string(), count }))
    .describe("events of KVM that are neither input nor compared"),
  mismatchCount: count,
  mismatches: z.array(mismatchSchema).describe("the first ones, as many as --max says"),
});

/** What `kvm-age trace conform --json` prints. */
export const traceConformResultSchema = z
  .strictObject({
    schema: z.literal(TRACE_CONFORM_SCHEMA_ID),
    provenance: provenanceSchema,
    interrupted: z.boolean(),
    files: z.array(fileSchema),
  })
  .meta({ id: "TraceConformResult" });
export type TraceConformResult = z.infer<typeof traceConformResultSchema>;
/** What was found in one trace. */
export type ConformFile = TraceConformResult["files"][number];
