import { FAULT_OUTCOMES, RANGE_SIZES, SPTE_CHANGE_WORDS, ZAP_CAUSES } from "@kvm-age/trace";
import { z } from "zod";
import { count, nanoseconds } from "./measures.js";
import { provenanceSchema } from "./provenance.js";
import { hexText, traceIdentitySchema, traceReadSchema } from "./trace-read.js";

/** Name and version of the format; changes whenever a field comes, goes away or changes its meaning. */
export const TRACE_SUMMARY_SCHEMA_ID = "kvm-age/trace-summary@1";

type KeysOf<Words extends object> = [keyof Words & string, ...(keyof Words & string)[]];

function keysOf<Words extends object>(words: Words): KeysOf<Words> {
  return Object.keys(words) as KeysOf<Words>;
}

const durationSchema = z
  .strictObject({
    count,
    meanNs: nanoseconds,
    p50Ns: nanoseconds,
    p90Ns: nanoseconds,
    p99Ns: nanoseconds,
    maxNs: nanoseconds,
  })
  .meta({ id: "Durations" });

const agingSchema = z.strictObject({
  rows: z
    .array(
      z.strictObject({
        kind: z
          .enum(["age", "test"])
          .describe("age clears (clear_young, clear_flush_young), test only looks"),
        comm: z.string().describe("name of the tasks that asked"),
        size: z.enum(RANGE_SIZES).describe("class of the host-virtual range"),
        calls: count,
        young: count,
        old: count,
        unknown: count.describe("calls whose answer the trace does not show"),
        agedSptes: count.describe("SPTEs that lost Accessed, or their permissions to access tracking"),
      }),
    )
    .describe("aging calls by kind, caller and size"),
  answeredBy: z
    .strictObject({ returnProbe: count, spteChanges: count, nothing: count })
    .describe("what the answers rest on: SPTE changes can only show that memory was young"),
  agedByLevel: z.strictObject({ "1": count, "2": count, "3": count }),
  ageDuration: durationSchema.describe("time between the probes at entry and return"),
  testDuration: durationSchema,
});

const useSchema = z
  .strictObject({
    exact: durationSchema.describe("uses that faulted"),
    earliest: durationSchema.describe("other uses: not before, the last look that found the page unused"),
    latest: durationSchema.describe("the same uses: not after, the first look that found it used"),
    goneUnused: count,
    unusedAtEnd: count,
  })
  .describe("time from a page's aging to its next use");

const faultSchema = z.strictObject({
  faults: count,
  inGuestWalk: count,
  rows: z.array(
    z.strictObject({ outcome: z.enum(keysOf(FAULT_OUTCOMES)), read: count, write: count, fetch: count }),
  ),
  mmioCached: count,
  mmioStale: count,
  fastNotPossible: count,
});

const tablePagesSchema = z.strictObject({
  rows: z.array(
    z.strictObject({
      level: count,
      direct: z.boolean(),
      created: count,
      found: count,
      zapped: count,
      unsynced: count,
      synced: count,
    }),
  ),
  zapAllFast: count,
  splits: z.strictObject({ done: count, lostRace: count, noMemory: count, otherError: count }),
  guestWalks: z.strictObject({ walks: count, faults: count, accessedSet: count, dirtySet: count }),
});

/** What `kvm-age trace summary --json` prints. */
export const traceSummaryResultSchema = z.strictObject({
  schema: z.literal(TRACE_SUMMARY_SCHEMA_ID),
  provenance: provenanceSchema,
  identity: traceIdentitySchema,
  read: traceReadSchema,
  span: z
    .strictObject({ firstNs: nanoseconds, lastNs: nanoseconds })
    .nullable()
    .describe("of the trace's clock"),
  tasks: z.array(z.strictObject({ comm: z.string(), tasks: count, events: count })),
  vcpus: z
    .array(z.strictObject({ vcpu: count, pids: z.array(count), faults: count }))
    .describe("vCPU numbers; no event says which VM it is about"),
  aging: agingSchema,
  useAfterAging: useSchema,
  faults: faultSchema,
  spteChanges: z.strictObject({
    changes: z.array(
      z.strictObject({ kind: z.enum(keysOf(SPTE_CHANGE_WORDS)), byLevel: z.array(count).length(5) }),
    ),
    zaps: z.array(z.strictObject({ cause: z.enum(keysOf(ZAP_CAUSES)), byLevel: z.array(count).length(3) })),
  }),
  mappedAtEnd: z
    .array(count)
    .length(3)
    .nullable()
    .describe("leaves of level 1, 2, 3; null without the TDP MMU"),
  invalidations: z.array(
    z.strictObject({ comm: z.string(), size: z.enum(RANGE_SIZES), calls: count, bytes: count }),
  ),
  tablePages: tablePagesSchema,
  memory: z
    .array(z.strictObject({ gfn: hexText, hva: hexText, pages: count }))
    .describe("where guest frames stand in the host, as far as known"),
});
export type TraceSummaryResult = z.infer<typeof traceSummaryResultSchema>;
