import type { Hva } from "@kvm-age/memslot";
import { RetPf } from "@kvm-age/page-fault";
import { pteListCount } from "@kvm-age/rmap";
import { isMmioSpte, PG_LEVEL_4K } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { gfnToRmap } from "../../src/leaf-rmap/gfn-to-rmap.js";
import { HOST_BASE } from "../guest/kit/byte-host.js";
import { PRESENT, READ, SLOT_GFN, WRITE } from "./kit/leaf-guest.js";
import { NestedGuest } from "./kit/nested-guest.js";

const L2_PAGE = 7;
const PAGE = 3;
/** A second slot over the same memory of the owner's, in pages from the start of the first. */
const ALIAS = 0x8000;

function listLength(guest: NestedGuest, page: number): number {
  const slot = guest.memslots.gfnToMemslot(guest.cpu, 0, guest.gfn(page));
  return pteListCount(guest.cpu, gfnToRmap(guest.cpu, slot, guest.gfn(page), PG_LEVEL_4K));
}

/** L2's page is mapped read-only; then L1 changes its entry, which is in a table that is unsync, and tells nobody. */
function mapped(): NestedGuest {
  const guest = new NestedGuest();
  guest.setRegion(2, SLOT_GFN + ALIAS, 2048, (HOST_BASE + SLOT_GFN * 4096) as Hva, 0);
  guest.host.writable = false;
  guest.mapL2(L2_PAGE, PAGE);
  expect(guest.l2Fault(L2_PAGE, READ).ret).toBe(RetPf.fixed);
  guest.host.writable = true;
  expect(listLength(guest, PAGE)).toBe(1);
  return guest;
}

describe("L1's entry leads elsewhere, unseen, and L2 faults", () => {
  it("to another gfn with the same host page: the leaf changes its list, and is flushed", () => {
    const guest = mapped();
    guest.mapL2(L2_PAGE, ALIAS + PAGE);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.l2Fault(L2_PAGE, PRESENT | WRITE, cpu).ret).toBe(RetPf.fixed);
    expect([listLength(guest, PAGE), listLength(guest, ALIAS + PAGE)]).toEqual([0, 1]);
    expect(cpu.flushes()).toEqual([`flush 0x${guest.gfn(ALIAS + PAGE).toString(16)}+1`]);
    guest.expectSound();
  });

  it("to another page: the old leaf is dropped and flushed", () => {
    const guest = mapped();
    guest.mapL2(L2_PAGE, PAGE + 1);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.l2Fault(L2_PAGE, PRESENT | WRITE, cpu).ret).toBe(RetPf.fixed);
    expect([listLength(guest, PAGE), listLength(guest, PAGE + 1)]).toEqual([0, 1]);
    expect(cpu.flushes()).toHaveLength(1);
    expect(guest.leaves()).toEqual([1, 0, 0]);
    guest.expectSound();
  });

  it("to where no slot is: the leaf makes room for an MMIO entry", () => {
    const guest = mapped();
    guest.mapL2(L2_PAGE, 0x20000);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.l2Fault(L2_PAGE, PRESENT | WRITE, cpu).ret).toBe(RetPf.emulate);
    expect(isMmioSpte(guest.format, guest.l2Entry(L2_PAGE).spte)).toBe(true);
    expect(listLength(guest, PAGE)).toBe(0);
    expect(cpu.flushes()).toHaveLength(1);
    guest.expectSound();
  });

  it("nowhere new: the entry becomes writable in place", () => {
    const guest = mapped();
    const { sptep } = guest.l2Entry(L2_PAGE);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.l2Fault(L2_PAGE, PRESENT | WRITE, cpu).ret).toBe(RetPf.fixed);
    expect(guest.l2Entry(L2_PAGE).sptep).toBe(sptep);
    expect(guest.l2Entry(L2_PAGE).spte & 2n).toBe(2n);
    expect(cpu.flushes()).toEqual([]);
    guest.expectSound();
  });
});
