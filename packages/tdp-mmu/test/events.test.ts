import { RetPf } from "@kvm-age/page-fault";
import { linux73, linux615, PFERR_FETCH_MASK } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmMmuLoad, kvmMmuUnload, kvmTdpMmuZapAllFast } from "../src/index.js";
import { Guest, SLOT_GFN, SLOT_HVA } from "./kit/guest.js";
import { READ, sptepAt, trackWrites, WRITE } from "./kit/operations.js";
import { EVERY_FORMAT } from "./kit/reference-values.js";

/** A page behind the end of the slot. */
const OUTSIDE = 4096;

/** The events of one fault. */
function eventsOf(guest: Guest, page: number, code: number): RecordingCpu["events"] {
  const cpu = new RecordingCpu(guest.cpu);
  guest.faultWithCode(page, code, cpu);
  return cpu.events;
}

function fieldsOf(events: RecordingCpu["events"], name: string): unknown {
  return events.find((event) => event.name === name)?.fields;
}

describe.each(EVERY_FORMAT)("events of a fault, $name", (reference) => {
  it("shows the frame of the page that was asked for, and the entry of the page that is mapped", () => {
    const guest = new Guest(reference.init);
    guest.host.level = 2;
    const events = eventsOf(guest, 700, WRITE);
    const pfn = Number((guest.spte(700) >> 12n) & 0xffffffffffn) + (700 % 512);
    const access = reference.ruleSet === linux73 ? 15 : 7;
    expect(fieldsOf(events, "kvm_mmu_spte_requested")).toEqual({
      gfn: SLOT_GFN + 700,
      pfn,
      level: 2,
      access,
    });
    const spte = guest.spte(700);
    const sptep = sptepAt(guest, 700, 2);
    const letters = { r: true, x: true, u: true };
    expect(fieldsOf(events, "kvm_mmu_set_spte")).toEqual({
      gfn: SLOT_GFN + 512,
      spte,
      level: 2,
      sptep,
      ...letters,
    });
    expect(fieldsOf(events, "kvm_tdp_mmu_spte_changed")).toMatchObject({ as_id: 0 });
  });

  it("shows a leaf that was found as well, also if the write must be emulated", () => {
    const guest = new Guest(reference.init);
    guest.faultWithCode(3, READ);
    trackWrites(guest, 7);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(7, WRITE, cpu)).toBe(RetPf.writeProtected);
    expect(cpu.eventNames().at(-1)).toBe("kvm_mmu_set_spte");
    expect(cpu.events.at(-1)!.fields).toMatchObject({ spte: guest.spte(7), r: true, x: true, u: true });
  });

  it("outside every slot: no frame, the entry's generation and lowest bits", () => {
    const guest = new Guest(reference.init);
    const events = eventsOf(guest, OUTSIDE, READ);
    expect(fieldsOf(events, "kvm_mmu_spte_requested")).toMatchObject({ pfn: 2 ** 63, level: 1 });
    const sptep = BigInt(guest.entry(OUTSIDE).sptep);
    const access = guest.format.mode === "ept" ? 6 : 7;
    expect(events.slice(-2)).toMatchObject([
      { name: "kvm_tdp_mmu_spte_changed", fields: { new_spte: guest.spte(OUTSIDE) } },
      { name: "mark_mmio_spte", fields: { sptep, gfn: SLOT_GFN + OUTSIDE, access, gen: 2 } },
    ]);
  });
});

describe("letters and numbers that the rule sets disagree on", () => {
  it.each([
    ["7.3, a page that may not be executed", linux73, false, false],
    ["6.15, a page that may not be executed: U is R", linux615, false, true],
  ])("%s", (_name, ruleSet, x, u) => {
    const guest = new Guest({ ruleSet, options: { nxHugePages: true } });
    guest.host.level = 2;
    expect(fieldsOf(eventsOf(guest, 3, WRITE), "kvm_mmu_set_spte")).toMatchObject({
      level: 2,
      r: true,
      x,
      u,
    });
    const fetched = fieldsOf(eventsOf(guest, 1500, PFERR_FETCH_MASK), "kvm_mmu_set_spte");
    expect(fetched).toMatchObject({ level: 1, r: true, x: true, u: true });
  });

  it.each([
    ["7.3: a bit of the generation among them", linux73, 14],
    ["6.15", linux615, 6],
  ])("the lowest bits of an MMIO entry, %s", (_name, ruleSet, access) => {
    const guest = new Guest({ ruleSet });
    // Address space 1: its generations are odd.
    kvmMmuUnload(guest.mmu, guest.cpu, guest.vcpu);
    guest.cpu.writeOnce32(guest.vcpu.inSmmWord, 1);
    kvmMmuLoad(guest.mmu, guest.cpu, guest.vcpu);
    guest.setRegion({ slot: 1 << 16, gfn: SLOT_GFN, pages: 16, hva: SLOT_HVA, flags: 0 });
    const mark = fieldsOf(eventsOf(guest, OUTSIDE, READ), "mark_mmio_spte");
    expect(mark).toMatchObject({ access, gen: 3 });
  });
});

describe("zapping everything fast", () => {
  it("shows the generation that ends: 0, 1, 0; there are no shadow pages to count", () => {
    const guest = new Guest();
    const cpu = new RecordingCpu(guest.cpu);
    for (let round = 0; round < 3; round++) {
      cpu.mutexLock(guest.memslots.locks.slotsLock);
      kvmTdpMmuZapAllFast(guest.mmu, cpu);
      cpu.mutexUnlock(guest.memslots.locks.slotsLock);
    }
    const shown = cpu.fieldsOf("kvm_mmu_zap_all_fast");
    expect(shown).toEqual([0, 1, 0].map((gen) => ({ mmu_valid_gen: gen, mmu_used_pages: 0 })));
  });

  it.each([false, true])("begins with small pages, or with 1 GiB if the MMU is proved: %s", (proveMmu) => {
    const guest = new Guest({ options: { proveMmu } });
    guest.fault(3, true);
    const cpu = new RecordingCpu(guest.cpu);
    kvmTdpMmuZapAllFast(guest.mmu, cpu);
    const levels = cpu.fieldsOf("kvm_tdp_mmu_spte_changed").map(({ level }) => level);
    const told = cpu.eventNames().slice(1, 3);
    if (!proveMmu) expect([levels[0], told[0]]).toEqual([1, "kvm_tdp_mmu_spte_changed"]);
    else expect(told).toEqual(["kvm_mmu_prepare_zap_page", "kvm_mmu_prepare_zap_page"]);
    expect(levels.at(-1)).toBe(4);
  });
});
