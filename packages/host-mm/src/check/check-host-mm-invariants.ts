import type { Cpu } from "@kvm-age/machine";
import type { HostMm } from "../host-mm.js";
import { checkBackedFrames } from "./check-backed-frames.js";
import { checkLruLists } from "./check-lru-lists.js";
import { checkPageTables } from "./check-page-tables.js";
import { checkPages } from "./check-pages.js";
import { checkSwapSlots } from "./check-swap-slots.js";

/**
 * Checks what must hold of a host mm while no operation is under way and nobody but the mappings, the swap cache and the LRU batches holds page
 * references: every present entry's page maps back, every mapped page has its entry, reference counts add up, nothing is both
 * free and in use, backed memory is all there in frames that nothing else uses, the LRU lists contain what says so, each swap slot has the holders it names, and all counters agree.
 * Returns one sentence for each violation. Drains the processors' LRU batches first.
 */
export function checkHostMmInvariants(hostMm: HostMm, cpu: Cpu): string[] {
  hostMm.lruAddDrainAll(cpu);
  const mm = hostMm.mm;
  const mappings = checkPageTables(mm, cpu);
  return [
    ...mappings.violations,
    ...checkBackedFrames(mm, cpu, mappings),
    ...checkPages(mm, cpu, mappings),
    ...checkLruLists(mm, cpu),
    ...checkSwapSlots(mm, cpu, mappings),
  ];
}
