import { z } from "zod";
import { latencySummarySchema } from "./latency-summary.js";
import { lockWaitSchema } from "./lock-wait.js";
import { count } from "./measures.js";

/** What every scenario reports of its MMU, TLBs, memory and locks. */
export const machineFigures = {
  faultLatency: latencySummarySchema.describe("guest accesses that missed in the page table, until resolved"),
  invalidationLatency: latencySummarySchema.describe(
    "from invalidate_range_start to its return, flush included",
  ),
  lockWaits: z.array(lockWaitSchema),
  mmu: z.record(z.string(), z.number()).describe("counters of the MMU by their kernel names"),
  tlb: z
    .strictObject({
      accesses: count,
      hits: count,
      misses: count,
      walks: count,
      faults: count,
      flushes: count,
    })
    .describe("all vCPUs' TLBs together"),
  memory: z.strictObject({
    guestPages: count.describe("4 KiB pages of guest memory in the memslots"),
    arenaBytes: count.describe("arena bytes in use at the end"),
    arenaBytesPerGuestPage: z.number().nonnegative(),
  }),
};
