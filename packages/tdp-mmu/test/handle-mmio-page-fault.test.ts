import { PFERR_RSVD_MASK, RetPf } from "@kvm-age/page-fault";
import { isMmioSpte, linux73, linux615, type RuleSet } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { Guest } from "./kit/guest.js";

/** A page behind the end of the slot. */
const OUTSIDE = 4096;

function guestWithCachedMmio(mode: "ept" | "npt", ruleSet: RuleSet): Guest {
  const guest = new Guest({ mode, ruleSet });
  expect(guest.faultWithCode(OUTSIDE, 0)).toBe(RetPf.emulate);
  expect(isMmioSpte(guest.format, guest.spte(OUTSIDE))).toBe(true);
  return guest;
}

describe.each([
  ["ept", linux73],
  ["ept", linux615],
  ["npt", linux73],
] as const)("reserved-bit fault on %s", (mode, ruleSet) => {
  it("is answered from the cached entry, without mmu_lock", () => {
    const guest = guestWithCachedMmio(mode, ruleSet);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(OUTSIDE, PFERR_RSVD_MASK, cpu)).toBe(RetPf.emulate);
    expect(cpu.log.filter((entry) => entry.includes("mmu_lock"))).toEqual([]);
  });

  it("takes the ordinary path once slots have changed, and caches the new generation", () => {
    const guest = guestWithCachedMmio(mode, ruleSet);
    const before = guest.spte(OUTSIDE);
    guest.setSlot(1);
    expect(guest.faultWithCode(OUTSIDE, PFERR_RSVD_MASK)).toBe(RetPf.emulate);
    expect(guest.spte(OUTSIDE)).not.toBe(before);
  });

  it("is retried if the entry is no longer an MMIO one", () => {
    const guest = new Guest({ mode, ruleSet });
    expect(guest.faultWithCode(3, PFERR_RSVD_MASK)).toBe(RetPf.retry);
  });
});
