import type { Actor } from "../../actor.js";
import { NESTED_SETS, type NestedSets, nestedSetOf } from "./nested-sets.js";

/** What one pass found. */
export interface NestedPass {
  readonly ns: number;
  /** Pages of each of `NESTED_SETS` that were young. */
  readonly young: readonly number[];
  /** Pages on which `test_young`, asked just before, said otherwise than `clear_young`; 0 if it was not asked. */
  readonly testDisagreements: number;
}

/** Report of `age-nested`: the passes that were not cut short. */
export interface NestedAgingReport {
  readonly passes: readonly NestedPass[];
}

const PAGES_PER_LOOK = 64;

/** One `clear_young` for every test page; null if it was cut short. */
function agePass(actor: Actor, sets: NestedSets, test: boolean, isCut: () => boolean): NestedPass | null {
  const { cpu, vm } = actor;
  const { notifiers } = vm.hostMm;
  const start = process.hrtime.bigint();
  const young = NESTED_SETS.map(() => 0);
  let testDisagreements = 0;
  for (let page = 0; page < vm.config.guestPages; page++) {
    if (page % PAGES_PER_LOOK === 0 && isCut()) return null;
    const hva = vm.hvaOf(page);
    const tested = test && notifiers.testYoung(cpu, hva);
    const cleared = notifiers.clearYoung(cpu, hva, hva + 4096);
    if (cleared) young[nestedSetOf(sets, page)]!++;
    if (test && tested !== cleared) testDisagreements++;
  }
  return { ns: Number(process.hrtime.bigint() - start), young, testDisagreements };
}

/**
 * Aging as the walk of the multi-generational LRU asks for it: one `clear_young` for each page in a pass. Not by way of the page_idle bitmap,
 * which asks twice (to read and to mark), so that what the first call left set by mistake the second would clear unseen.
 *
 * @param once one pass, each page asked by `test_young` as well; else pass after pass until the vCPUs are done
 */
export function ageNested(actor: Actor, step: number, sets: NestedSets, once: boolean): NestedAgingReport {
  const { control } = actor;
  const passes: NestedPass[] = [];
  const isCut = (): boolean => (once ? control.isStopping : control.isOver(step));
  do {
    const pass = agePass(actor, sets, once, isCut);
    if (pass !== null) passes.push(pass);
  } while (!once && !control.isOver(step));
  return { passes };
}
