import { z } from "zod";
import { count, nanoseconds } from "./measures.js";

/** How long the threads of one role waited for, and held, the locks of one class in one mode. */
export const lockWaitSchema = z
  .strictObject({
    role: z.string().describe("who waited: vcpu, ager, reclaimer, ..."),
    lock: z.string().describe("lock class, by its kernel name: mmu_lock, ..."),
    mode: z.string().describe("read, write, ..."),
    acquisitions: count,
    waitTotalNs: nanoseconds,
    waitP50Ns: nanoseconds,
    waitP99Ns: nanoseconds,
    waitMaxNs: nanoseconds,
    holdTotalNs: nanoseconds,
    holdP99Ns: nanoseconds,
    holdMaxNs: nanoseconds,
  })
  .meta({ id: "LockWait" });
export type LockWait = z.infer<typeof lockWaitSchema>;
