import type { Actor } from "../../actor.js";

/**
 * Enters L1 or L2, without any cached translation: an access through the TLB reads no table entry, so it could not set A again in one that
 * was aged. A processor that ran something else in between has lost them, too.
 */
export function enterLevel(actor: Actor, level: "L1" | "L2"): void {
  const { cpu, vm } = actor;
  const guest = actor.guest!;
  if (level === "L1") guest.exitL2(cpu);
  else guest.enterL2(cpu, vm.handle.guestTables!.gpa);
  guest.hardware.flushTlb(cpu);
}
