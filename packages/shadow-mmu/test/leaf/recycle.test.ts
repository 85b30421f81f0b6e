import { RetPf } from "@kvm-age/page-fault";
import { pteListCount } from "@kvm-age/rmap";
import { PG_LEVEL_4K } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { gfnToRmap } from "../../src/leaf-rmap/gfn-to-rmap.js";
import { PRESENT, READ } from "./kit/leaf-guest.js";
import { NestedGuest } from "./kit/nested-guest.js";

const PAGE = 5;
/** Insertions that one list takes before it is zapped. */
const THRESHOLD = 1001;

function aliases(guest: NestedGuest, count: number): void {
  for (let alias = 0; alias < count; alias++) {
    guest.mapL2(alias, PAGE);
    expect(guest.l2Fault(alias, READ).ret).toBe(RetPf.fixed);
  }
}

describe("a page with very many mappings", () => {
  it("keeps 1001 of them, loses all at the 1002nd, and flushes once", () => {
    const guest = new NestedGuest({ bare: true });
    const head = gfnToRmap(guest.cpu, guest.slot, guest.gfn(PAGE), PG_LEVEL_4K);
    aliases(guest, THRESHOLD);
    expect(pteListCount(guest.cpu, head)).toBe(THRESHOLD);
    expect(guest.leaves()).toEqual([THRESHOLD, 0, 0]);
    expect(guest.mmu.statistics.read(guest.cpu).max_mmu_rmap_size).toBe(THRESHOLD - 1);
    guest.expectSound();

    const descriptors = guest.mmu.rmaps.descriptors.allocatedObjects(guest.cpu);
    guest.mapL2(THRESHOLD, PAGE);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.l2Fault(THRESHOLD, READ, cpu).ret).toBe(RetPf.fixed);
    expect(cpu.flushes()).toEqual([`flush 0x${guest.gfn(PAGE).toString(16)}+1`]);
    expect(guest.cpu.readOnce(head)).toBe(0n);
    expect(guest.leaves()).toEqual([0, 0, 0]);
    expect(guest.mmu.statistics.read(guest.cpu).max_mmu_rmap_size).toBe(THRESHOLD);
    expect(guest.mmu.rmaps.descriptors.allocatedObjects(guest.cpu)).toBeLessThan(descriptors);
    guest.expectSound();
  }, 30_000);

  it("ages them all in one pass, over descriptors", () => {
    const guest = new NestedGuest();
    aliases(guest, 31);
    expect(guest.age(PAGE, PAGE + 1)).toBe(true);
    for (let alias = 0; alias < 31; alias++) expect(guest.l2Entry(alias).spte & 0x100n).toBe(0n);
    expect(guest.age(PAGE, PAGE + 1)).toBe(false);
    guest.cpu.fetchOr(guest.l2Entry(17).sptep, 0x100n, "full");
    expect(guest.testAge(PAGE, PAGE + 1)).toBe(true);
    expect(guest.age(PAGE, PAGE + 1)).toBe(true);
    guest.expectSound();
  });

  it("unmaps them all", () => {
    const guest = new NestedGuest();
    aliases(guest, 31);
    expect(guest.unmap(PAGE, PAGE + 1)).toBe(true);
    expect(guest.leaves()).toEqual([0, 0, 0]);
    expect(guest.l2Fault(3, PRESENT).ret).toBe(RetPf.fixed);
    guest.expectSound();
  });
});
