import type { Actor } from "../actor.js";
import type { MarkIdleReport, PageRange } from "../protocol.js";

const PAGES_PER_LOOK = 64;

/**
 * `mark_vcpu_memory_idle` of access_tracking_perf_test: for each page, looks up its pfn, reads the bitmap word that holds it, and
 * writes the page's bit unless it is set already.
 */
export function markIdle(actor: Actor, range: PageRange): MarkIdleReport {
  const { cpu, vm } = actor;
  let stillIdlePages = 0;
  let noPfnPages = 0;
  let pages = 0;
  for (let page = range.firstPage; page < range.firstPage + range.pages; page++) {
    pages++;
    const pfn = vm.hostMm.pagemapLookup(cpu, vm.hvaOf(page));
    if (pfn < 0) {
      noPfnPages++;
      continue;
    }
    const bit = 1n << BigInt(pfn % 64);
    const word = Math.floor(pfn / 64);
    if ((vm.hostMm.pageIdle.readWord(cpu, word) & bit) !== 0n) stillIdlePages++;
    else vm.hostMm.pageIdle.writeWord(cpu, word, bit);
    if (page % PAGES_PER_LOOK !== 0) continue;
    actor.control.addProgress(PAGES_PER_LOOK);
    if (actor.control.isStopping) break;
  }
  return { pages, stillIdlePages, noPfnPages };
}
