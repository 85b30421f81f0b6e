import { FIRST_HOST_PFN } from "@kvm-age/host-mm";
import type { Gfn } from "@kvm-age/spte";
import type { Actor } from "../actor.js";
import type { AgeEveryReport } from "../protocol.js";

const ALL_PAGES = 2n ** 64n - 1n;
const WORD_PAGES = 64;

interface Tally {
  readonly passNs: number[];
  idleReports: number;
  wronglyIdleReports: number;
  idleTruePositives: number;
  missedIdle: number;
}

/** What was true of every test page just before a pass read the bitmap. */
interface GroundTruth {
  /** Host page, or -1. */
  readonly pfns: Float64Array;
  /** Epoch of the last guest access, TLB hits included. */
  readonly epochs: Uint32Array;
}

function observe(actor: Actor, truth: GroundTruth): void {
  const { cpu, vm } = actor;
  const { baseGfn } = vm.handle;
  for (let page = 0; page < truth.pfns.length; page++) {
    truth.epochs[page] = vm.accessEpochs!.lastAccess(cpu, (baseGfn + page) as Gfn);
    truth.pfns[page] = vm.hostMm.pagemapLookup(cpu, vm.hvaOf(page));
  }
}

/** Reads the bitmap, then marks every page. The result is what stayed idle since the marks of the pass before. */
function readAndMark(actor: Actor, words: BigUint64Array): void {
  const { cpu, vm } = actor;
  const firstWord = FIRST_HOST_PFN / WORD_PAGES;
  for (let word = 0; word < words.length; word++) {
    words[word] = vm.hostMm.pageIdle.readWord(cpu, firstWord + word);
    vm.hostMm.pageIdle.writeWord(cpu, firstWord + word, ALL_PAGES);
  }
}

/**
 * Holds the answers against the truth. A page counts as used only if it was accessed after the last pass had marked all pages, and
 * before this one began to read: so an access that overlaps a pass does not make an answer wrong,
 * unless its thread was descheduled between the access and the record of it.
 */
function judge(tally: Tally, truth: GroundTruth, words: BigUint64Array, markedEpoch: number): void {
  for (let page = 0; page < truth.pfns.length; page++) {
    const pfn = truth.pfns[page]!;
    if (pfn < 0) continue;
    const index = pfn - FIRST_HOST_PFN;
    const idle = ((words[Math.floor(index / WORD_PAGES)]! >> BigInt(index % WORD_PAGES)) & 1n) !== 0n;
    const used = truth.epochs[page]! >= markedEpoch;
    if (idle) tally.idleReports++;
    if (idle && used) tally.wronglyIdleReports++;
    if (idle && !used) tally.idleTruePositives++;
    if (!idle && !used) tally.missedIdle++;
  }
}

/** An idle-page daemon with a cadence: a pass every `ms`, judged against the recorded truth, until the vCPUs are done. */
export function ageEvery(actor: Actor, step: number, ms: number): AgeEveryReport {
  const { cpu, vm } = actor;
  const pages = vm.config.guestPages;
  const truth: GroundTruth = { pfns: new Float64Array(pages), epochs: new Uint32Array(pages) };
  const words = new BigUint64Array(vm.hostMm.pageIdle.words - FIRST_HOST_PFN / WORD_PAGES);
  const tally: Tally = {
    passNs: [],
    idleReports: 0,
    wronglyIdleReports: 0,
    idleTruePositives: 0,
    missedIdle: 0,
  };
  for (let markedEpoch = 0; !actor.control.isOver(step); ) {
    const start = performance.now();
    observe(actor, truth);
    const readStart = performance.now();
    readAndMark(actor, words);
    tally.passNs.push((performance.now() - readStart) * 1e6);
    if (markedEpoch > 0) judge(tally, truth, words, markedEpoch);
    markedEpoch = vm.accessEpochs!.advanceEpoch(cpu);
    actor.control.sleep(ms - (performance.now() - start), step);
  }
  return tally;
}
