import { UnsupportedSpteFormatOptionError } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { identifyTrace, openIdentifiedTrace, parseTraceText, type TraceRecord } from "../../src/index.js";
import { traceFixture } from "../support/trace-fixture.js";
import { ageHva, changed, line, pageFault, recordsOf } from "../support/trace-lines.js";

const EMPTY = "8000000000000000";

function answers(records: readonly TraceRecord[]): string {
  const { kernel, mode, adBits, tdpMmu } = identifyTrace(records);
  return `${kernel} ${mode} ${adBits ? "ad" : "no-ad"} ${tdpMmu ? "tdp" : "shadow-mmu"}`;
}

describe("identifyTrace", () => {
  it.each([
    ["linux-7.3-npt-tdpmmu/age_thp", "linux-7.3 npt ad tdp"],
    ["linux-6.12-npt-tdpmmu/age_thp", "linux-6.12 npt ad tdp"],
    ["linux-7.3-nonpt/age4k_zeropage", "linux-7.3 shadow ad shadow-mmu"],
  ])("real trace %s: %s", (name, expected) => {
    expect(answers(parseTraceText(traceFixture(`${name}.trace.gz`)).records)).toBe(expected);
  });

  const requested = line("kvm_mmu_spte_requested: gfn 5 pfn 12345 level 1");
  const aged615 = [
    ageHva(0x7f0000000000, 1, { flags: "...1." }),
    changed(5, 1, "12345e67", "12345e47", { flags: "...1." }),
  ];

  it("tells 6.15 from 6.12 by the lock that aging holds", () => {
    expect(answers(recordsOf(requested, ...aged615))).toBe("linux-6.15 npt ad tdp");
    const aged612 = [aged615[0]!, changed(5, 1, "12345e67", "12345e47", { flags: "...2." })];
    expect(answers(recordsOf(requested, ...aged612))).toBe("linux-6.12 npt ad tdp");
  });

  it("says so when nothing tells 6.12 from 6.15", () => {
    const withoutDepth = [
      ageHva(0, 1, { flags: "....." }),
      changed(5, 1, "12345e67", "12345e47", { flags: "....." }),
    ];
    const identity = identifyTrace(recordsOf(requested, ...withoutDepth));
    expect(identity.kernel).toBe("linux-6.12");
    expect(identity.evidence).toContain(
      "kernel linux-6.12: assumed, this trace shows nothing in which 6.12 and 6.15 differ",
    );
  });

  it("tells EPT without A/D of 6.12, 6.15 and 7.3 by its SPTEs alone", () => {
    const map = (leaf: string): string => changed(5, 1, EMPTY, leaf);
    expect(
      answers(recordsOf(map("8610000012345b77"), changed(5, 1, "8610000012345b77", "8750000012345a70"))),
    ).toBe("linux-6.15 ept no-ad tdp");
    expect(
      answers(recordsOf(map("8610000012345877"), changed(5, 1, "8610000012345877", "8750000012345870"))),
    ).toBe("linux-6.12 ept no-ad tdp");
    expect(answers(recordsOf(map("90a0000012345f77")))).toBe("linux-7.3 ept no-ad tdp");
    expect(answers(recordsOf(map("80a0000012345f77")))).toBe("linux-7.3 ept ad tdp");
  });

  it("does not take NX in bit 63 of an NPT leaf for EPT", () => {
    const nx = [changed(0, 2, EMPTY, "123456827"), changed(5, 1, EMPTY, "8000000012345e67")];
    expect(answers(recordsOf(...nx))).toBe("linux-7.3 npt ad tdp");
  });

  it("knows the shadow MMU by SPTEs that are set without an event of the TDP MMU", () => {
    const set = line("kvm_mmu_set_spte: gfn 5 spte 12345e67 (rwxu) level 1 at 109dcc028");
    expect(answers(recordsOf(pageFault(0x5000, "0x100000006"), set))).toBe("linux-7.3 npt ad shadow-mmu");
    expect(answers(recordsOf(pageFault(0x5000, "0x2"), set))).toBe("linux-7.3 shadow ad shadow-mmu");
  });

  it("assumes, and says that it does, where a trace tells nothing", () => {
    const identity = identifyTrace(recordsOf(ageHva(0, 1)));
    expect(identity).toMatchObject({ kernel: "linux-7.3", mode: "ept", adBits: true, tdpMmu: true });
    expect(identity.evidence.filter((sentence) => sentence.includes("assumed"))).toHaveLength(4);
  });

  it("lets the user answer", () => {
    const overrides = { kernel: "linux-6.15", mode: "ept", adBits: false } as const;
    const identity = identifyTrace(recordsOf(changed(5, 1, EMPTY, "12345e67")), overrides);
    expect(identity).toMatchObject(overrides);
    expect(identity.format).toMatchObject({
      mode: "ept",
      kvmAdEnabled: false,
      rules: { name: "linux-6.15" },
    });
    expect(identity.evidence).toContain("mode ept: given by the user");
    const contradiction = { mode: "npt", adBits: false } as const;
    expect(() => identifyTrace([], contradiction)).toThrow(UnsupportedSpteFormatOptionError);
  });
});

describe("openIdentifiedTrace", () => {
  async function* batches(count: number): AsyncGenerator<readonly TraceRecord[]> {
    const old = recordsOf(line("kvm_mmu_spte_requested: gfn 5 pfn 12345 level 1"));
    const later = recordsOf(line("kvm_mmu_spte_requested: gfn 5 pfn 12345 level 1 access f"));
    for (let index = 0; index < count; index++) yield index < 20_000 ? old : later;
  }

  it("hands out every record once, the beginning included", async () => {
    const trace = await openIdentifiedTrace(batches(45_000));
    expect(trace.identity.kernel).toBe("linux-6.12");
    let records = 0;
    for await (const batch of trace.batches) records += batch.length;
    expect(records).toBe(45_000);
    expect(trace.identityNow().kernel).toBe("linux-7.3");
  });
});
