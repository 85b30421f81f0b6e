import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { NULL_PAGE, type Page } from "../page/mem-map.js";
import { shrinkOneFolio } from "../reclaim/shrink-one-folio.js";

/**
 * A free page for a fault, its contents zero, or `NULL_PAGE`. If none is free, gathers those that only an LRU batch still refers to; with direct reclaim on, reclaims until one is free or two rounds over the lists
 * freed none (kernel `try_to_free_pages`). Held: the mmap lock at most; reclaim does not take it.
 */
export function allocFaultPage(mm: MmStruct, cpu: Cpu): Page {
  let page = mm.zone.allocPage(cpu);
  if (page === NULL_PAGE) {
    mm.folioBatches.lruAddDrainAll(cpu);
    page = mm.zone.allocPage(cpu);
  }
  if (page === NULL_PAGE && mm.handle.directReclaim) page = allocByReclaim(mm, cpu);
  if (page !== NULL_PAGE) mm.contents?.clear(cpu, page, 1);
  return page;
}

function allocByReclaim(mm: MmStruct, cpu: Cpu): Page {
  let attempts = 2 * (mm.lruvec.inactivePages(cpu) + mm.lruvec.activePages(cpu));
  while (attempts-- > 0) {
    const outcome = shrinkOneFolio(mm, cpu, {});
    if (outcome.result === "empty") break;
    if (outcome.result !== "reclaimed") continue;
    const page = mm.zone.allocPage(cpu);
    if (page !== NULL_PAGE) return page;
  }
  return mm.zone.allocPage(cpu);
}
