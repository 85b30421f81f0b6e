import type { Actor } from "../../actor.js";
import type { StressPart } from "../../protocol.js";
import { touch } from "../touch.js";
import type { StressReadOnlyReport } from "./stress-report.js";
import { StressSignals } from "./stress-signals.js";

const PAGES_PER_LOOK = 64;

interface Tally {
  stores: number;
  efaults: number;
  lateStores: number;
}

/** One store; EFAULT skips it, as the selftest moves on behind the instruction. */
function storeOnce(actor: Actor, page: number, signals: StressSignals, tally: Tally): void {
  const isLate = signals.isReadOnly;
  if (actor.store(page)) {
    tally.stores++;
    if (isLate) tally.lateStores++;
    return;
  }
  tally.efaults++;
  if (tally.efaults === 1) signals.countFaultedVcpu();
}

/**
 * Stages 2 and 3 of mmu_stress_test: reads the chunk, then stores to it, round after round, until the memory is known to be read-only and
 * every vCPU has met a fault.
 */
export function stressReadOnly(
  actor: Actor,
  part: StressPart & { readonly vcpus: number },
): StressReadOnlyReport {
  const { control } = actor;
  const signals = new StressSignals(part.signals);
  const tally: Tally = { stores: 0, efaults: 0, lateStores: 0 };
  touch(actor, { ...part, write: false });
  do {
    for (let page = part.firstPage; page < part.firstPage + part.pages; page++) {
      storeOnce(actor, page, signals, tally);
      if (page % PAGES_PER_LOOK !== 0) continue;
      control.addProgress(PAGES_PER_LOOK);
      if (control.isStopping) break;
    }
  } while (!control.isStopping && !(signals.isReadOnly && signals.faultedVcpus === part.vcpus));
  actor.vcpu!.exitGuest(actor.cpu);
  return tally;
}
