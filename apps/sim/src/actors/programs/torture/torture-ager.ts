import { FIRST_HOST_PFN } from "@kvm-age/host-mm";
import type { Actor } from "../../actor.js";
import { Random } from "./random.js";

const WORD_PAGES = 64;
const ALL_PAGES = 2n ** 64n - 1n;

/** How an ager did: pages asked about and answers "young". */
export interface TortureAgerReport {
  readonly asked: number;
  readonly young: number;
}

/** Ages at random in every way there is: the idle bitmap, and ranges of any alignment through all three notifiers. */
export function tortureAger(actor: Actor, step: number, seed: number): TortureAgerReport {
  const { cpu, vm } = actor;
  const random = new Random(seed);
  const report = { asked: 0, young: 0 };
  while (!actor.control.isOver(step)) {
    const page = random.below(vm.config.guestPages);
    const pages = 1 + random.below(Math.min(700, vm.config.guestPages - page));
    const start = vm.hvaOf(page);
    const end = start + pages * 4096;
    report.asked++;
    switch (random.below(5)) {
      case 0:
        touchIdleWord(actor, random);
        break;
      case 1:
        if (vm.hostMm.notifiers.clearYoung(cpu, start, end)) report.young++;
        break;
      case 2:
        if (ageGuestTables(actor)) report.young++;
        break;
      case 3:
        if (vm.hostMm.notifiers.clearFlushYoung(cpu, start, start + 4096)) report.young++;
        break;
      default:
        if (vm.hostMm.notifiers.testYoung(cpu, start)) report.young++;
    }
  }
  return report;
}

/** The guest's page tables are guest memory like any other. */
function ageGuestTables({ vm, cpu }: Actor): boolean {
  const { guestTables } = vm.handle;
  if (guestTables === null) return false;
  return vm.hostMm.notifiers.clearYoung(cpu, guestTables.hva, guestTables.hva + guestTables.pages * 4096);
}

function touchIdleWord(actor: Actor, random: Random): void {
  const { pageIdle } = actor.vm.hostMm;
  const first = FIRST_HOST_PFN / WORD_PAGES;
  const word = first + random.below(pageIdle.words - first);
  pageIdle.readWord(actor.cpu, word);
  pageIdle.writeWord(actor.cpu, word, ALL_PAGES);
}
