import { KVM_RMAP_LOCKED, pteListRemove } from "@kvm-age/rmap";
import { PG_LEVEL_4K } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { checkShadowSpteInvariants } from "../../src/check/check-shadow-spte-invariants.js";
import { gfnToRmap } from "../../src/leaf-rmap/gfn-to-rmap.js";
import { LeafGuest, WRITE } from "./kit/leaf-guest.js";
import { NestedGuest } from "./kit/nested-guest.js";
import { EVERY_FORMAT, ofPage, type ReferenceFormat, withPfn } from "./kit/reference-values.js";

const PAGE = 3;
const reference = EVERY_FORMAT[0] as ReferenceFormat;
const withoutAd = EVERY_FORMAT[1] as ReferenceFormat;

function mapped(of: ReferenceFormat = reference): LeafGuest {
  const guest = new LeafGuest(of.init);
  guest.touch(PAGE, true);
  guest.host.level = 2;
  guest.touch(700, true);
  guest.expectSound();
  return guest;
}

/** Spoils something, and expects to be told. */
function spoiled(guest: LeafGuest, spoil: (guest: LeafGuest) => void): string {
  spoil(guest);
  const violations = checkShadowSpteInvariants(guest.mmu, guest.cpu);
  expect(violations).not.toEqual([]);
  return violations.join("\n");
}

const store = (page: number, value: bigint) => (guest: LeafGuest) =>
  guest.cpu.writeOnce(guest.entry(page).sptep, value);

describe("the checker finds", () => {
  it.each([
    [
      "W without MMU-writable",
      PAGE,
      ofPage(reference.demand, PAGE) & ~reference.mmuWritableBit,
      /W, MMU-writable/,
    ],
    ["an entry that could raise #VE", PAGE, ofPage(reference.demand, PAGE) & ~(1n << 63n), /#VE/],
    ["a non-present value that nobody writes", PAGE, (1n << 63n) | 0x1a0n, /unknown non-present value/],
    ["an A/D type that is not the table's", PAGE, ofPage(withoutAd.demand, PAGE), /A\/D type/],
    ["a huge page that is not aligned", 700, withPfn(reference.huge, 0x400001), /not aligned/],
    ["a leaf that went without leaving its rmap", PAGE, 1n << 63n, /in an rmap, yet no leaf/],
  ])("%s", (_name, page, value, message) => {
    expect(spoiled(mapped(), store(page, value))).toMatch(message);
  });

  it("an access-tracked entry that is accessed", () => {
    const value = ofPage(withoutAd.aged, PAGE) | withoutAd.accessedBit;
    expect(spoiled(mapped(withoutAd), store(PAGE, value))).toMatch(/access-tracked, yet accessed/);
  });

  it("a leaf that is in no rmap, or in another page's", () => {
    const lost = mapped();
    const head = (guest: LeafGuest, page: number) =>
      gfnToRmap(guest.cpu, guest.slot, guest.gfn(page), PG_LEVEL_4K);
    const found = spoiled(lost, (guest) =>
      guest.underWriteLock(() =>
        pteListRemove(guest.mmu.rmaps, guest.cpu, guest.sptep(PAGE), head(guest, PAGE)),
      ),
    );
    expect(found).toMatch(/in rmaps \[\], expected/);
    const moved = spoiled(mapped(), (guest) => {
      guest.cpu.writeOnce(head(guest, PAGE + 1), guest.cpu.readOnce(head(guest, PAGE)));
      guest.cpu.writeOnce(head(guest, PAGE), 0n);
    });
    expect(moved).toMatch(/in rmaps \[0x.*\], expected 0x.* alone/);
  });

  it("a list that is locked at rest, or ill-formed", () => {
    const head = (guest: LeafGuest) => gfnToRmap(guest.cpu, guest.slot, guest.gfn(PAGE), PG_LEVEL_4K);
    expect(
      spoiled(mapped(), (guest) => void guest.cpu.fetchOr(head(guest), KVM_RMAP_LOCKED, "full")),
    ).toMatch(/locked at rest/);
    expect(spoiled(mapped(), (guest) => void guest.cpu.fetchOr(head(guest), 4n, "full"))).toMatch(
      /not a multiple of 8/,
    );
  });

  it("a counter that is wrong", () => {
    const found = spoiled(mapped(), (guest) =>
      guest.cpu.writeOnce32(guest.mmu.statistics.pageWord(PG_LEVEL_4K), 7),
    );
    expect(found).toBe("level 1: 7 leaves counted, 1 found");
  });

  it("a leaf of a nested guest that gives more than L1 does", () => {
    const guest = new NestedGuest();
    guest.mapL2(7, PAGE);
    guest.l2Fault(7, WRITE);
    guest.expectSound();
    const { sptep, spte } = guest.l2Entry(7);
    // L1 gives no user-execute.
    expect(spoiled(guest, () => guest.cpu.writeOnce(sptep, spte ^ 0x400n))).toMatch(/gives access/);
  });

  it("a guest table in sync that is writable", () => {
    const guest = new NestedGuest();
    guest.mapL2(7, PAGE);
    guest.l2Fault(7, WRITE);
    // L1's root table, frame 1, gets mapped to L2 as well.
    guest.mapL2(8, 1 - guest.slotGfn);
    guest.l2Fault(8, 0);
    guest.expectSound();
    const { sptep, spte } = guest.l2Entry(8);
    expect(spte & 2n).toBe(0n);
    expect(spoiled(guest, () => guest.cpu.writeOnce(sptep, spte | (1n << 55n)))).toMatch(/maps it writable/);
  });
});
