import { describe, expect, it } from "vitest";
import {
  AmbiguousPageError,
  InvalidPageNameError,
  identifyTrace,
  type PageEvent,
  PageInventory,
  PageLife,
  parseTraceText,
  resolvePage,
  type TraceRecord,
  UnknownPageError,
} from "../../src/index.js";
import { noteConcerns, notedMemory } from "../../src/page-life/note-concerns.js";
import { traceFixture } from "../support/trace-fixture.js";
import { ageHva, changed, line, pageFault, recordsOf } from "../support/trace-lines.js";

const EMPTY = "8000000000000000";

function inventoryOf(records: readonly TraceRecord[]): PageInventory {
  const inventory = new PageInventory(identifyTrace(records).format);
  for (const record of records) inventory.observe(record);
  inventory.finish();
  return inventory;
}

function lifeOf(gfn: number, records: readonly TraceRecord[]): readonly PageEvent[] {
  const life = new PageLife(identifyTrace(records), gfn, inventoryOf(records).map);
  return records.flatMap((record) => life.observe(record));
}

const { records: thp } = parseTraceText(traceFixture("linux-7.3-npt-tdpmmu/age_thp.trace.gz"));
const { records: shadow } = parseTraceText(traceFixture("linux-7.3-nonpt/age4k_zeropage.trace.gz"));

describe("resolvePage", () => {
  const inventory = inventoryOf(thp);
  const [hva] = inventory.map.hvasOf(0x40203);

  it.each([
    ["gfn:40203", 0x40203],
    ["gfn:0x40203", 0x40203],
    ["gpa:0x40203fff", 0x40203],
    [`hva:${hva!.toString(16)}`, 0x40203],
    ["40203", 0x40203],
    ["0x40203000", 0x40203],
    [hva!.toString(16), 0x40203],
  ])("%s is frame %i", (text, gfn) => {
    expect(resolvePage(text, inventory)).toBe(gfn);
  });

  it("names the frames that there are", () => {
    expect(() => resolvePage("gfn:50000", inventory)).toThrow(UnknownPageError);
    expect(() => resolvePage("gfn:50000", inventory)).toThrow(
      /the trace maps gfns 0x1 to 0x6, .*0x40000 to 0x403ff/,
    );
    expect(() => resolvePage("hva:1000", inventory)).toThrow(
      /1024 page\(s\) from 0x7f[0-9a-f]+ \(gfn 0x40000\)/,
    );
    expect(() => resolvePage("deadbeef000", inventory)).toThrow(UnknownPageError);
  });

  it("asks when a number fits two pages", () => {
    const twoPages = inventoryOf(
      recordsOf(changed(5, 1, EMPTY, "12345e67"), changed(0x5000, 1, EMPTY, "12346e67")),
    );
    expect(() => resolvePage("5000", twoPages)).toThrow(AmbiguousPageError);
    expect(() => resolvePage("5000", twoPages)).toThrow(/gfn:5000, gfn:5;/);
    expect(resolvePage("gpa:5000", twoPages)).toBe(5);
  });

  it.each(["", "page 5", "gfn:", "gfn:xyz", "gfn:123456789abcdef0", "pfn:5"])("refuses %o", (text) => {
    expect(() => resolvePage(text, inventory)).toThrow(InvalidPageNameError);
  });
});

describe("PageLife", () => {
  it("shows a page that a huge page maps, by the huge page", () => {
    const events = lifeOf(0x40203, thp);
    const sptes = events.filter(
      ({ record }) => record.kind === "kvm" && record.name === "kvm_tdp_mmu_spte_changed",
    );
    const leaves = sptes.filter(({ spte }) => spte?.level === 2).map(({ what, spte }) => [what, spte!.gfn]);
    expect(leaves).toEqual([
      ["page mapped at level 2", 0x40200],
      ["page aged at level 2", 0x40200],
      ["page aged at level 2", 0x40200],
      ["page zapped at level 2", 0x40200],
    ]);
  });

  it("has every event in order, and those of other pages not", () => {
    const events = lifeOf(0x40203, thp);
    const lines = events.map(({ record }) => record.line);
    expect(lines).toEqual([...lines].sort((a, b) => a - b));
    expect(new Set(lines).size).toBe(lines.length);
    const faults = events.filter(({ what }) => what.startsWith("guest write faults"));
    expect(faults.map(({ what }) => what)).toEqual([
      "guest write faults: vCPU 0, gpa 0x40200000, error code 0x100000006",
    ]);
    expect(events.some(({ what }) => what.includes("gfn=40001"))).toBe(false);
  });

  it("has the probes of calls about the page, and of those only", () => {
    const calls = lifeOf(0x40203, thp).filter(({ what }) => what.startsWith("kvm_mmu_notifier_clear_young"));
    const entered = calls.filter(({ what }) => what.includes("entered"));
    expect(entered).toHaveLength(4);
    expect(calls).toHaveLength(8);
  });

  it("with shadow paging, finds the fault by the lookup that follows", () => {
    const whats = lifeOf(0x40003, shadow).map(({ what }) => what);
    expect(whats).toContain("guest read faults: vCPU 0, gva 0x40003000, error code 0x0");
    expect(whats.filter((what) => what.startsWith("guest ")).length).toBe(2);
    expect(whats.some((what) => what.includes("SPTE set at level 1"))).toBe(true);
  });

  it("with shadow paging, shows what KVM does to a guest's page tables in the page", () => {
    const whats = lifeOf(0x20, shadow).map(({ what }) => what);
    expect(whats).toContain("shadow (level 1) of the guest's table at gfn 0x20 created");
    expect(whats.filter((what) => what.startsWith("KVM sets Accessed in the guest's entry")).length).toBe(16);
  });

  it("takes a fault elsewhere in a huge page for one of the page only while that page is mapped huge", () => {
    const map = changed(0x200, 2, EMPTY, "40000ee7");
    const elsewhere = pageFault(0x2ff000, "0x100000007");
    expect(lifeOf(0x203, recordsOf(map, elsewhere))).toHaveLength(2);
    expect(lifeOf(0x203, recordsOf(elsewhere, map))).toHaveLength(1);
  });

  it("ends a call at the task's next call", () => {
    const first = ageHva(0x7f0000000000, 1);
    const lines = [
      line("tracing_mark_write: agevm: start npages=2 hva=7f0000000000 gfn_base=5"),
      first,
      line("tdp_age_ret: (kvm_age_gfn+0x3d/0x60 <- kvm_tdp_mmu_age_gfn_range) ret=1"),
      ageHva(0x7f0000001000, 1),
      line("tdp_age_ret: (kvm_age_gfn+0x3d/0x60 <- kvm_tdp_mmu_age_gfn_range) ret=0"),
    ];
    expect(lifeOf(5, recordsOf(...lines)).map(({ record }) => record.line)).toEqual([1, 2, 3]);
  });
});

describe("noteConcerns", () => {
  const memory = notedMemory("agevm: start npages=64 hva=7f0000000000 gfn_base=40000");
  it.each([
    ["agevm: map page=3 gfn=40003 hva=7f0 pfn=1", true],
    ["agevm: map page=4 gfn=40004 hva=7f0 pfn=1", false],
    ["agevm: spte level=2 gfn=40000 sptep=1 val=40000ee7 leaf", true],
    ["agevm: spte level=1 gfn=40000 sptep=1 val=40000ee7 leaf", false],
    ["agevm: guest_w begin vcpu=0 first=0 count=4 stride=1", true],
    ["agevm: guest_w begin vcpu=0 first=0 count=3 stride=1", false],
    ["agevm: guest_w begin vcpu=0 first=1 count=2 stride=2", true],
    ["agevm: guest_w begin vcpu=0 first=0 count=9 stride=2", false],
    ["agevm: slot_delete begin", true],
    ["agevm: sh begin echo 3", false],
  ])("%s: %s", (text, expected) => {
    expect(noteConcerns(text, 0x40003, memory)).toBe(expected);
  });
});
