import { benchAgingScan } from "./aging-scan.js";
import type { BenchRow } from "./bench-row.js";
import { benchConformance } from "./conformance.js";
import { benchGuestAccess } from "./guest-access.js";
import { guestFaultNs, shadowFaultNs, shadowPrefetchNs, tdpFaultNs } from "./map-faults.js";
import { benchMemory } from "./memory.js";
import { addRemoveRow, LONG_LIST, lockRows } from "./rmap-lists.js";
import { benchShadowAgingLong, benchShadowAgingSingle } from "./shadow-aging.js";
import { benchSpteRates } from "./spte-rates.js";
import { benchTraceReading } from "./trace-reading.js";

/**
 * Everything that is measured, each job with a machine of its own. V8 compiles the accesses of a thread for the first machine that the
 * thread has, and calls those of any other one several times more slowly, so each job gets a thread of its own as well.
 */
export const BENCH_JOBS = {
  agingNative: () => benchAgingScan("native"),
  agingIterator: () => benchAgingScan("iterator"),
  rmapLockSingle: () => lockRows(1),
  rmapLockLong: () => lockRows(LONG_LIST),
  rmapAddSingle: () => [addRemoveRow(1, false)],
  rmapAddSingleChecked: () => [addRemoveRow(1, true)],
  rmapAddLong: () => [addRemoveRow(LONG_LIST, false)],
  rmapAddLongChecked: () => [addRemoveRow(LONG_LIST, true)],
  shadowAgingSingle: benchShadowAgingSingle,
  shadowAgingLong: benchShadowAgingLong,
  tdpFault: tdpFaultNs,
  guestFault: guestFaultNs,
  directFault: () => shadowFaultNs("direct"),
  directPrefetch: () => shadowPrefetchNs("direct"),
  indirectFault: () => shadowFaultNs("shadow"),
  indirectPrefetch: () => shadowPrefetchNs("shadow"),
  nestedFault: () => shadowFaultNs("tdp+nested"),
  nestedPrefetch: () => shadowPrefetchNs("tdp+nested"),
  guestAccess: benchGuestAccess,
  spteRates: benchSpteRates,
  traceReading: benchTraceReading,
  conformance: benchConformance,
  memory: benchMemory,
} as const satisfies Record<string, () => number | BenchRow[] | Promise<BenchRow[]>>;

export type BenchJob = keyof typeof BENCH_JOBS;

/** What a job gives: rows, or nanoseconds. */
export type BenchJobResult<Job extends BenchJob> = Awaited<ReturnType<(typeof BENCH_JOBS)[Job]>>;
