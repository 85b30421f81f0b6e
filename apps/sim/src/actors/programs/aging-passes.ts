import { FIRST_HOST_PFN } from "@kvm-age/host-mm";
import type { Actor } from "../actor.js";
import type { AgingPassesReport } from "../protocol.js";

const ALL_PAGES = 2n ** 64n - 1n;
const WORD_PAGES = 64;

/** Words of the bitmap from `first` up to `end` that fall to one of `shares` agers. */
function wordsOfShare(first: number, end: number, share: number, shares: number): [number, number] {
  const words = end - first;
  return [first + Math.floor((words * share) / shares), first + Math.floor((words * (share + 1)) / shares)];
}

function countBits(word: bigint): number {
  let count = 0;
  for (let rest = word; rest !== 0n; rest &= rest - 1n) count++;
  return count;
}

/**
 * An idle-page daemon without pause: pass after pass over the whole page_idle bitmap, each reading what stayed idle and marking all
 * pages again, until the vCPUs are done. A pass that the end cuts short is not reported.
 */
export function agingPasses(actor: Actor, step: number, share: number, shares: number): AgingPassesReport {
  const { cpu, vm } = actor;
  const { pageIdle } = vm.hostMm;
  const [first, end] = wordsOfShare(FIRST_HOST_PFN / WORD_PAGES, pageIdle.words, share, shares);
  const passNs: number[] = [];
  let idlePages = 0;
  while (!actor.control.isOver(step)) {
    const start = process.hrtime.bigint();
    let word = first;
    for (; word < end && !actor.control.isOver(step); word++) {
      idlePages += countBits(pageIdle.readWord(cpu, word));
      pageIdle.writeWord(cpu, word, ALL_PAGES);
    }
    if (word < end) break;
    passNs.push(Number(process.hrtime.bigint() - start));
  }
  return { passNs, idlePages };
}
