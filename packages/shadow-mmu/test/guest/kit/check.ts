import { checkShadowPageInvariants } from "../../../src/check/check-shadow-page-invariants.js";
import { checkShadowSpteInvariants } from "../../../src/check/check-shadow-spte-invariants.js";
import type { ShadowGuest } from "../../kit/shadow-guest.js";

/** Every rule that is broken, structure and leaves together. */
export function violations(guest: ShadowGuest): string[] {
  return guest.underWriteLock(() => [
    ...checkShadowPageInvariants(guest.mmu, guest.cpu),
    ...checkShadowSpteInvariants(guest.mmu, guest.cpu),
  ]);
}
