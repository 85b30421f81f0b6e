import { type Cpu, offset } from "@kvm-age/machine";
import type { MmStruct } from "./mm-struct.js";
import { perCpuArea, RSS_DELTA } from "./per-cpu-area.js";

/** `add_mm_counter(MM_ANONPAGES)`: this processor's share of the resident set changes by `pages`. Its own word, so without order. */
export function addRss(mm: MmStruct, cpu: Cpu, pages: number): void {
  const word = offset(perCpuArea(mm.handle.perCpu, cpu.id), RSS_DELTA);
  cpu.writeOnce32(word, (cpu.readOnce32(word) + pages) >>> 0);
}

/** `get_mm_rss`: mapped pages of 4 KiB. The shares are summed one after another: exact only while nothing is mapped or unmapped. */
export function readRss(mm: MmStruct, cpu: Cpu): number {
  let sum = 0;
  for (let id = 0; id < mm.maxCpus; id++) {
    sum = (sum + cpu.readOnce32(offset(perCpuArea(mm.handle.perCpu, id), RSS_DELTA))) >>> 0;
  }
  return sum;
}
