import type { Actor } from "../../actor.js";
import type { StressPart } from "../../protocol.js";
import type { StressWritableReport } from "./stress-report.js";
import { StressSignals } from "./stress-signals.js";

const PAGES_PER_LOOK = 64;

/** Stage 4 of mmu_stress_test: stores to every page of the chunk, each again while it ends in EFAULT. */
export function stressWritable(actor: Actor, part: StressPart): StressWritableReport {
  const { control } = actor;
  const signals = new StressSignals(part.signals);
  const tally = { stores: 0, efaults: 0, lateEfaults: 0 };
  for (let page = part.firstPage; page < part.firstPage + part.pages; ) {
    const isLate = signals.isWritable;
    if (actor.store(page)) {
      tally.stores++;
      page++;
    } else {
      tally.efaults++;
      if (isLate) tally.lateEfaults++;
    }
    if ((tally.stores + tally.efaults) % PAGES_PER_LOOK !== 0) continue;
    control.addProgress(PAGES_PER_LOOK);
    if (control.isStopping) break;
  }
  actor.vcpu!.exitGuest(actor.cpu);
  return tally;
}
