import { createSpteFormat } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import {
  type AgingCall,
  AgingCalls,
  GuestMemoryMap,
  learnFromAgingCall,
  learnFromNote,
} from "../../src/index.js";
import { ageGfn, ageGfnReturned, ageHva, changed, line, recordsOf } from "../support/trace-lines.js";

const HVA = 0x7f0000000000;
const npt = createSpteFormat({ mode: "npt" });

function callsOf(...lines: readonly string[]): readonly AgingCall[] {
  const calls = new AgingCalls(npt);
  const ended = recordsOf(...lines).flatMap((record) => calls.observe(record) ?? []);
  return [...ended, ...calls.finish()];
}

const entered = (us: number): string =>
  line("clear_young: (kvm_mmu_notifier_clear_young+0x4/0x280) start=0x7f0000000000 end=0x7f0000001000", {
    us,
  });
const returned = (us: number, ret: number): string =>
  line(`clear_young_ret: (__mmu_notifier_clear_young+0x5f/0xa0 <- kvm_mmu_notifier_clear_young) ret=${ret}`, {
    us,
  });

describe("AgingCalls", () => {
  it("puts a call with all its probes together", () => {
    const [call, ...more] = callsOf(
      entered(10),
      ageHva(HVA, 1, { us: 11 }),
      ageGfn(5, 6, { us: 12 }),
      changed(5, 1, "12345e67", "12345e47", { us: 13 }),
      ageGfnReturned(1, { us: 14 }),
      returned(15, 1),
    );
    expect(more).toEqual([]);
    expect(call).toMatchObject({
      kind: "age",
      start: HVA,
      end: HVA + 4096,
      young: true,
      answeredBy: "return probe",
      durationNs: 5000,
      gfnRanges: [{ start: 5, end: 6, young: true }],
      aged: [{ asId: 0, gfn: 5, level: 1 }],
    });
  });

  it("reads a returned bool by its low byte, as 7.3 leaves the rest of the register as it was", () => {
    expect(callsOf(ageHva(HVA, 1), returned(1, 1254301697))[0]!.young).toBe(true);
    expect(callsOf(ageHva(HVA, 1), returned(1, 0x4ac31000))[0]!.young).toBe(false);
  });

  it("takes SPTE changes for the answer without probes, and none for no answer", () => {
    const young = callsOf(ageHva(HVA, 1), changed(5, 1, "12345e67", "12345e47"));
    expect(young[0]).toMatchObject({ young: true, answeredBy: "SPTE changes", durationNs: null });
    expect(callsOf(ageHva(HVA, 1))[0]).toMatchObject({ young: null, answeredBy: null });
  });

  it("ends a call at the task's next event that is none of its own, and not at another task's", () => {
    const calls = callsOf(
      ageHva(HVA, 1, { pid: 1 }),
      changed(9, 1, "12345e67", "12345e47", { pid: 2 }),
      changed(5, 1, "12345e67", "12345e47", { pid: 1 }),
      changed(6, 1, "12345e67", "8000000000000000", { pid: 1 }),
      changed(7, 1, "12345e67", "12345e47", { pid: 1 }),
    );
    expect(calls).toHaveLength(1);
    expect(calls[0]!.aged).toEqual([{ asId: 0, gfn: 5, level: 1 }]);
  });

  it("knows a test by its event", () => {
    const text = "kvm_test_age_hva: mmu notifier test age hva: 0x007f0000000000";
    expect(callsOf(line(text))[0]).toMatchObject({ kind: "test", start: HVA, end: HVA + 1, young: null });
  });
});

describe("what a trace teaches about the place of guest memory", () => {
  function learn(...lines: readonly string[]): GuestMemoryMap {
    const map = new GuestMemoryMap();
    for (const call of callsOf(...lines)) learnFromAgingCall(map, call);
    for (const record of recordsOf(...lines)) if (record.kind === "note") learnFromNote(map, record);
    return map;
  }

  it("probes: a range of as many frames", () => {
    const map = learn(ageHva(HVA, 4), ageGfn(0x100, 0x104));
    expect(map.gfnsOf(HVA + 2 * 4096 + 5)).toEqual([0x102]);
    expect(map.hvasOf(0x103)).toEqual([HVA + 3 * 4096]);
    expect(map.gfnsOf(HVA + 4 * 4096)).toEqual([]);
    expect(learn(ageHva(HVA, 4), ageGfn(0x100, 0x102)).ranges).toEqual([]);
  });

  it("SPTE changes: a call about exactly the page", () => {
    expect(learn(ageHva(HVA, 1), changed(5, 1, "12345e67", "12345e47")).ranges).toEqual([
      { gfn: 5, hva: HVA, pages: 1 },
    ]);
    expect(learn(ageHva(HVA, 2), changed(5, 1, "12345e67", "12345e47")).ranges).toEqual([]);
    expect(learn(ageHva(HVA, 512), changed(0x200, 2, "40000ee7", "40000ec7")).ranges).toEqual([
      { gfn: 0x200, hva: HVA, pages: 512 },
    ]);
  });

  it("notes: a slot, or a page", () => {
    const start = "tracing_mark_write: agevm: start pid=1 npages=64 hva=7f0000000000 gfn_base=40000";
    const page = "tracing_mark_write: agevm: map page=0 gfn=3 hva=7f1000000000 pfn=1";
    expect(learn(line(start), line(page)).ranges).toEqual([
      { gfn: 3, hva: 0x7f1000000000, pages: 1 },
      { gfn: 0x40000, hva: HVA, pages: 64 },
    ]);
  });
});
