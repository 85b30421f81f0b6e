import type { Actor } from "../../actor.js";

/**
 * Resets the vCPU's MMU context, reads a page under the roots of the other CR0.WP, and resets it back. The selftest toggles the bit once, from
 * outside; back and forth leaves the guest as the other MMUs find it.
 */
export function stressReset(actor: Actor, page: number): null {
  const { cpu } = actor;
  const guest = actor.guest!;
  guest.toggleCr0Wp(cpu);
  actor.access(page, false);
  guest.toggleCr0Wp(cpu);
  guest.hardware.exitGuest(cpu);
  return null;
}
