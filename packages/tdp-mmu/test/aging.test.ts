import { KVM_FILTER_SHARED } from "@kvm-age/memslot";
import type { Gfn } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import {
  KVM_VALID_ROOTS,
  kvmTdpMmuAgeGfnRange,
  kvmTdpMmuInvalidateRoots,
  type LeafScan,
} from "../src/index.js";
import { Guest, SLOT_GFN } from "./kit/guest.js";
import { age, spteChanges, sptepAt, testAge, underWriteLock } from "./kit/operations.js";
import { FORMATS, ofPage } from "./kit/reference-values.js";

const SCANS: readonly LeafScan[] = ["iterator", "native"];
const CASES = FORMATS.flatMap((reference) => SCANS.map((scan) => ({ ...reference, scan })));

describe.each(CASES)("aging, $name, $scan", (reference) => {
  const make = (): Guest => new Guest({ ...reference.init, options: { leafScan: reference.scan } });

  it("reports a used page once, and takes nothing but its accessed state", () => {
    const guest = make();
    guest.fault(3, true);
    expect(age(guest, 3, 4)).toBe(true);
    expect(guest.spte(3)).toBe(ofPage(reference.aged, 3));
    expect(age(guest, 3, 4)).toBe(false);
    expect(guest.spte(3)).toBe(ofPage(reference.aged, 3));
  });

  it("does not report what is empty, prefetched or outside every slot", () => {
    const guest = make();
    expect(age(guest, 0, 2048)).toBe(false);
    guest.faultWithCode(3, 0, guest.cpu, true);
    guest.faultWithCode(2048, 0);
    expect(age(guest, 0, 2049)).toBe(false);
    expect(guest.spte(3)).toBe(ofPage(reference.prefetch, 3));
  });

  it("keeps to its range, down to the page", () => {
    const guest = make();
    for (const page of [509, 510, 511, 512, 513, 514]) guest.fault(page, true);
    expect(age(guest, 510, 514)).toBe(true);
    const aged = [509, 510, 511, 512, 513, 514].filter(
      (page) => guest.spte(page) === ofPage(reference.aged, page),
    );
    expect(aged).toEqual([510, 511, 512, 513]);
    expect(age(guest, 510, 514)).toBe(false);
    expect(age(guest, 509, 515)).toBe(true);
  });

  it("ages a huge page as a whole if the range touches it", () => {
    const guest = make();
    guest.host.level = 2;
    guest.fault(700, true);
    expect(age(guest, 0, 512)).toBe(false);
    expect(age(guest, 1024, 2048)).toBe(false);
    expect(age(guest, 1023, 1024)).toBe(true);
    expect(age(guest, 512, 1024)).toBe(false);
  });

  it("leaves roots that were invalidated alone", () => {
    const guest = make();
    guest.fault(3, true);
    underWriteLock(guest, guest.cpu, () => kvmTdpMmuInvalidateRoots(guest.mmu, guest.cpu, KVM_VALID_ROOTS));
    expect(testAge(guest, 3, 4)).toBe(false);
    expect(age(guest, 3, 4)).toBe(false);
    expect(guest.spte(3)).toBe(ofPage(reference.demand, 3));
  });

  it("leaves the other address space alone", () => {
    const guest = make();
    guest.fault(3, true);
    guest.setRegion({ slot: 1 << 16, gfn: SLOT_GFN, pages: 16, hva: 0x7f0000000000 as never, flags: 0 });
    const range = {
      slot: guest.memslots.gfnToMemslot(guest.cpu, 1, SLOT_GFN),
      start: SLOT_GFN,
      end: (SLOT_GFN + 16) as Gfn,
      mayBlock: false,
      lockless: true,
      attrFilter: KVM_FILTER_SHARED,
    };
    expect(kvmTdpMmuAgeGfnRange(guest.mmu, guest.cpu, range)).toBe(false);
    expect(guest.spte(3)).toBe(ofPage(reference.demand, 3));
  });

  it("takes no lock, flushes nothing, and stays in one read section", () => {
    const guest = make();
    for (const page of [3, 4, 600]) guest.fault(page, true);
    const cpu = new RecordingCpu(guest.cpu);
    age(guest, 0, 2048, cpu);
    testAge(guest, 0, 2048, cpu);
    const steps = cpu.log.filter((step) => step !== "kvm_tdp_mmu_spte_changed");
    expect(steps).toEqual(["rcu_read_lock", "rcu_read_unlock", "rcu_read_lock", "rcu_read_unlock"]);
  });

  it("emits one event for each entry it changed, and counts no page", () => {
    const guest = make();
    for (const page of [3, 4, 600]) guest.fault(page, true);
    age(guest, 4, 5);
    const statistics = guest.mmu.statistics.read(guest.cpu);
    const cpu = new RecordingCpu(guest.cpu);
    age(guest, 0, 2048, cpu);
    expect(spteChanges(cpu)).toEqual(
      [3, 600].map((page) => ({
        as_id: 0,
        gfn: SLOT_GFN + page,
        level: 1,
        old_spte: ofPage(reference.demand, page),
        new_spte: ofPage(reference.aged, page),
      })),
    );
    expect(guest.mmu.statistics.read(guest.cpu)).toEqual(statistics);
  });
});

describe.each(FORMATS)("testing, $name", (reference) => {
  it("changes nothing and writes nothing", () => {
    const guest = new Guest(reference.init);
    guest.fault(3, true);
    const cpu = new RecordingCpu(guest.cpu);
    expect(testAge(guest, 3, 4, cpu)).toBe(true);
    expect(testAge(guest, 4, 5, cpu)).toBe(false);
    expect(cpu.writes()).toEqual([]);
    expect(cpu.events).toEqual([]);
    expect(guest.spte(3)).toBe(ofPage(reference.demand, 3));
  });

  it("stops at the first page that was used", () => {
    const guest = new Guest(reference.init);
    for (const page of [3, 5, 7]) guest.fault(page, true);
    age(guest, 3, 4);
    const reads: number[] = [];
    const watch = (page: number) =>
      ({ step: "readOnce", address: sptepAt(guest, page, 1), act: () => reads.push(page) }) as const;
    const cpu = new InterferingCpu(guest.cpu, [3, 5, 7].map(watch));
    expect(testAge(guest, 0, 2048, cpu)).toBe(true);
    expect(reads).toEqual([3, 5]);
  });
});
