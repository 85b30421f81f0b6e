import { NULL_SLOT } from "@kvm-age/memslot";
import { PFERR_FETCH_MASK, PFERR_PRESENT_MASK, PFERR_USER_MASK, PFERR_WRITE_MASK } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { countPageFaultResult, KvmPageFault, PFERR_RSVD_MASK, RetPf } from "../src/index.js";
import { Rig } from "./kit/rig.js";

const BITS = [
  ["present", PFERR_PRESENT_MASK, 1],
  ["write", PFERR_WRITE_MASK, 2],
  ["user", PFERR_USER_MASK, 4],
  ["rsvd", PFERR_RSVD_MASK, 8],
  ["exec", PFERR_FETCH_MASK, 16],
] as const;

function bitsOf(fault: KvmPageFault): string[] {
  return BITS.map(([name]) => name).filter((name) => fault[name]);
}

describe("an error code", () => {
  it.each(BITS)("says %s by one bit", (name, mask, value) => {
    expect(mask).toBe(value);
    expect(bitsOf(new KvmPageFault(0, mask, false))).toEqual([name]);
    expect(bitsOf(new KvmPageFault(0, 31 & ~mask, false))).not.toContain(name);
  });

  it("of 0 is a supervisor read of a page that is not present; PK is nobody's bit", () => {
    expect(bitsOf(new KvmPageFault(0, 0, false))).toEqual([]);
    expect(bitsOf(new KvmPageFault(0, 32, false))).toEqual([]);
  });
});

describe("a new fault", () => {
  it.each([
    [0x123fff, 0x123],
    [0x124000, 0x124],
    [2 ** 52 - 1, 2 ** 40 - 1],
    [2 ** 53 - 1, 2 ** 41 - 1],
  ])("at 0x%x is on page 0x%x", (addr, gfn) => {
    expect(new KvmPageFault(addr, 0, false)).toMatchObject({ addr, gfn });
  });

  it("has no slot, no page and no errno, may use 1G and asks for 4K", () => {
    expect(new KvmPageFault(0x1000, 2, true)).toMatchObject({
      prefetch: true,
      slot: NULL_SLOT,
      errno: null,
      mapWritable: false,
      maxLevel: 3,
      reqLevel: 1,
      goalLevel: 1,
      hugePageDisallowed: false,
    });
  });
});

describe("RetPf", () => {
  it("has the kernel's values; the kernel's negative errnos are one more", () => {
    expect(RetPf).toEqual({
      continue: 0,
      retry: 1,
      emulate: 2,
      writeProtected: 3,
      invalid: 4,
      fixed: 5,
      spurious: 6,
      error: 7,
    });
  });

  it.each([
    ["fixed", { pf_fixed: 1 }],
    ["spurious", { pf_spurious: 1 }],
    ["emulate", { pf_emulate: 1 }],
    ["retry", { pf_retry: 1 }],
    ["writeProtected", {}],
    ["error", {}],
  ] as const)("%s is counted", (name, counted) => {
    const rig = new Rig();
    const before = rig.statistics.read(rig.cpu);
    countPageFaultResult(rig.statistics, rig.cpu, RetPf[name]);
    expect(rig.statistics.read(rig.cpu)).toEqual({ ...before, ...counted });
  });
});
