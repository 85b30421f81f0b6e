import { type Address, type Cpu, offset } from "@kvm-age/machine";

// Each statistic is two u32 words, the lower half first, written by the vCPU's thread only. Offsets from the first:
export const STATISTIC_ACCESSES = 0;
export const STATISTIC_MISSES = 8;
export const STATISTIC_WALKS = 16;
export const STATISTIC_FAULTS = 24;
export const STATISTIC_FLUSHES_SERVED = 32;
export const STATISTIC_ACCESSED_SET = 40;
export const STATISTIC_DIRTY_SET = 48;
export const STATISTIC_INTERRUPTS = 56;
export const STATISTIC_GUEST_PAGE_FAULTS = 64;
export const STATISTIC_GUEST_ACCESSED_SET = 72;
export const STATISTIC_GUEST_DIRTY_SET = 80;

/** Bytes of all statistics. */
export const STATISTIC_BYTES = 88;

const LOW_RANGE = 2 ** 32;

/** Adds one. Plain accesses: no other thread writes the words. */
export function addStatistic(cpu: Cpu, statistics: Address, which: number): void {
  const word = offset(statistics, which);
  const next = (cpu.readOnce32(word) + 1) >>> 0;
  cpu.writeOnce32(word, next);
  if (next === 0) cpu.writeOnce32(offset(word, 4), (cpu.readOnce32(offset(word, 4)) + 1) >>> 0);
}

/** Reads one. From another thread it may be off by 2^32 at the moment the lower half overflows. */
export function readStatistic(cpu: Cpu, statistics: Address, which: number): number {
  const word = offset(statistics, which);
  return cpu.readOnce32(offset(word, 4)) * LOW_RANGE + cpu.readOnce32(word);
}
