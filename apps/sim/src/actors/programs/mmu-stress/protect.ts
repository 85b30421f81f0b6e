import { pagesPerTestSlot } from "../../../vm/test-slots.js";
import type { Actor } from "../../actor.js";
import { StressSignals } from "./stress-signals.js";

/** `mprotect` of the host memory behind all slots, and the word that it is done. */
export function protect(actor: Actor, writable: boolean, signals: SharedArrayBuffer): null {
  const { cpu, vm } = actor;
  vm.hostMm.mprotect(cpu, vm.hvaOf(0), pagesPerTestSlot(vm.config) * 4096, writable);
  new StressSignals(signals).protectionDone(writable);
  return null;
}
