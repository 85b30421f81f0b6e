import type { Address, Cpu } from "@kvm-age/machine";
import {
  readStatistic,
  STATISTIC_ACCESSED_SET,
  STATISTIC_ACCESSES,
  STATISTIC_DIRTY_SET,
  STATISTIC_FAULTS,
  STATISTIC_FLUSHES_SERVED,
  STATISTIC_GUEST_ACCESSED_SET,
  STATISTIC_GUEST_DIRTY_SET,
  STATISTIC_GUEST_PAGE_FAULTS,
  STATISTIC_INTERRUPTS,
  STATISTIC_MISSES,
  STATISTIC_WALKS,
} from "./statistic-words.js";

/** What one vCPU counted since it was made. */
export interface VcpuStatistics {
  /** Guest accesses. */
  readonly accesses: number;
  /** Accesses served by the TLB: `accesses - misses`. */
  readonly hits: number;
  /** Accesses that needed at least one walk. */
  readonly misses: number;
  /** Walks begun, over both dimensions counted once: one per miss, one more after every fault that was retried and every lost race for an entry. */
  readonly walks: number;
  /** Faults delivered to the MMU. */
  readonly faults: number;
  /** `REQUEST_TLB_FLUSH` requests served. */
  readonly flushesServed: number;
  /** Times a flusher interrupted the vCPU inside the guest. */
  readonly interrupts: number;
  /** Accessed flags set in the MMU's tables, in entries of every level. */
  readonly accessedSet: number;
  /** Dirty flags set in the MMU's tables. */
  readonly dirtySet: number;
  /** Page faults that the guest took itself (#PF), those that the MMU injected included. */
  readonly guestPageFaults: number;
  /** Accessed flags set in the guest's own tables. */
  readonly guestAccessedSet: number;
  /** Dirty flags set in the guest's own tables. */
  readonly guestDirtySet: number;
}

/** Reads the statistics at an address. Exact on the vCPU's thread, or while it rests. */
export function readVcpuStatistics(cpu: Cpu, statistics: Address): VcpuStatistics {
  const accesses = readStatistic(cpu, statistics, STATISTIC_ACCESSES);
  const misses = readStatistic(cpu, statistics, STATISTIC_MISSES);
  return {
    accesses,
    hits: accesses - misses,
    misses,
    walks: readStatistic(cpu, statistics, STATISTIC_WALKS),
    faults: readStatistic(cpu, statistics, STATISTIC_FAULTS),
    flushesServed: readStatistic(cpu, statistics, STATISTIC_FLUSHES_SERVED),
    interrupts: readStatistic(cpu, statistics, STATISTIC_INTERRUPTS),
    accessedSet: readStatistic(cpu, statistics, STATISTIC_ACCESSED_SET),
    dirtySet: readStatistic(cpu, statistics, STATISTIC_DIRTY_SET),
    guestPageFaults: readStatistic(cpu, statistics, STATISTIC_GUEST_PAGE_FAULTS),
    guestAccessedSet: readStatistic(cpu, statistics, STATISTIC_GUEST_ACCESSED_SET),
    guestDirtySet: readStatistic(cpu, statistics, STATISTIC_GUEST_DIRTY_SET),
  };
}
