import { KvmPageFault, RetPf } from "@kvm-age/page-fault";
import type { Gfn } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmTdpMmuPageFault } from "../src/index.js";
import { Guest, type GuestInit, SLOT_GFN, SLOT_HVA } from "./kit/guest.js";
import { leaves, READ, tables, WRITE } from "./kit/operations.js";
import { RULE_SETS } from "./kit/reference-values.js";

const APIC = 0xfee00;
const PAGE = APIC - SLOT_GFN;

// Generation 2 (one slot was created in address space 0): the low run puts it at bit 3 in both rule sets.
const FORMS: readonly (readonly [string, GuestInit, bigint])[] = RULE_SETS.flatMap(([name, ruleSet]) => [
  [`EPT, ${name}`, { mode: "ept", ruleSet }, 0xfee00016n] as const,
  [`NPT, ${name}`, { mode: "npt", ruleSet }, 0x80000fee00017n] as const,
]);

describe.each(FORMS)("a fault outside every slot, %s", (_name, init, value) => {
  it("caches the answer in an MMIO entry and emulates", () => {
    const guest = new Guest(init);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(PAGE, WRITE, cpu)).toBe(RetPf.emulate);
    expect(guest.entry(PAGE)).toMatchObject({ level: 1, spte: value });
    expect(cpu.eventNames()).toContain("mark_mmio_spte");
    expect(cpu.eventNames()).not.toContain("kvm_mmu_set_spte");
    expect(leaves(guest)).toEqual([0, 0, 0]);
    expect(guest.mmu.statistics.read(guest.cpu).pf_mmio_spte_created).toBe(1);
    expect(guest.host.released).toEqual({ unused: 0, clean: 0, dirty: 0 });
  });

  it("emulates again from the same entry while the generation stands", () => {
    const guest = new Guest(init);
    guest.faultWithCode(PAGE, READ);
    expect(guest.faultWithCode(PAGE, READ)).toBe(RetPf.emulate);
    expect(guest.spte(PAGE)).toBe(value);
  });

  it("is replaced by the new generation after a slot update, and by a leaf once a slot is there", () => {
    const guest = new Guest(init);
    guest.faultWithCode(PAGE, READ);
    guest.setRegion({ slot: 1, gfn: 0x90000, pages: 16, hva: SLOT_HVA, flags: 0 });
    guest.faultWithCode(PAGE, READ);
    expect(guest.spte(PAGE)).toBe(value + 0x10n);
    guest.setRegion({ slot: 2, gfn: APIC, pages: 16, hva: SLOT_HVA, flags: 0 });
    expect(guest.faultWithCode(PAGE, WRITE)).toBe(RetPf.fixed);
    expect(guest.entry(PAGE)).toMatchObject({ level: 1 });
    expect(leaves(guest)).toEqual([1, 0, 0]);
  });
});

describe("no entry is made", () => {
  it("without MMIO caching", () => {
    const guest = new Guest({ mmioCaching: false });
    expect(guest.faultWithCode(PAGE, READ)).toBe(RetPf.emulate);
    expect(tables(guest)).toBe(0);
  });

  it("beyond the highest gfn", () => {
    const guest = new Guest();
    const { maxGfn } = guest.memslots.options;
    const faultAt = (gfn: Gfn): RetPf =>
      kvmTdpMmuPageFault(
        guest.mmu,
        guest.cpu,
        guest.vcpu,
        guest.host,
        new KvmPageFault(gfn * 4096, READ, false),
      );
    expect(faultAt((maxGfn + 1) as Gfn)).toBe(RetPf.emulate);
    expect(tables(guest)).toBe(0);
    expect(faultAt(maxGfn)).toBe(RetPf.emulate);
    expect(tables(guest)).toBe(3);
  });
});
