import { describe, expect, test } from "vitest";
import { replayTrace } from "../../src/conformance/replay/replay-trace.js";
import { kernelTraceText, recordsOf } from "./kit/kernel-traces.js";
import { flipBit, type Mutation, replayMutated } from "./kit/mutated-trace.js";

const NPT = "linux-7.3-npt-tdpmmu";
const NOAD = "linux-7.3-ept-noad-acctrack";
const SHADOW = "linux-7.3-nonpt";
const LOCKED = "linux-6.12-npt-tdpmmu";

const other = (found: string): string => (found === "0" ? "1" : "0");

/** Mutations of outputs: a name, the mutation, and the fields that differ, for events. */
const EXACT: readonly (readonly [
  name: string,
  mutation: Mutation,
  kind: string,
  fields: readonly string[],
])[] = [
  ...[NPT, NOAD, LOCKED].flatMap((mode) => [
    [
      `${mode}: new_spte`,
      { trace: `${mode}/age4k`, pattern: /(?<=new_spte )[0-9a-f]+/, nth: 100, change: flipBit(9) },
      "event",
      ["new_spte"],
    ] as const,
    [
      `${mode}: old_spte`,
      { trace: `${mode}/age4k`, pattern: /(?<=old_spte )[0-9a-f]+/, nth: 100, change: flipBit(9) },
      "event",
      ["old_spte"],
    ] as const,
  ]),
  ...[NPT, NOAD, SHADOW, LOCKED].flatMap((mode) => [
    [
      `${mode}: level of kvm_mmu_set_spte`,
      { trace: `${mode}/age4k`, pattern: /(?<=set_spte: .*level )1/, nth: 40, change: () => "2" },
      "event",
      ["level"],
    ] as const,
    [
      `${mode}: place of kvm_mmu_set_spte`,
      { trace: `${mode}/age4k`, pattern: /(?<=set_spte: .*at )[0-9a-f]+/, nth: 40, change: flipBit(3) },
      "event",
      ["sptep"],
    ] as const,
    [
      `${mode}: a page of page tables`,
      { trace: `${mode}/age4k`, pattern: /(?<=get_page: .*)nxe/, nth: 2, change: () => "!nxe" },
      "event",
      ["nxe"],
    ] as const,
    [
      `${mode}: a page that is zapped`,
      { trace: `${mode}/age4k`, pattern: /(?<=zap_page: .*root )0/, nth: 0, change: () => "1" },
      "event",
      ["root"],
    ] as const,
    [
      `${mode}: answer of an aging call`,
      { trace: `${mode}/age4k`, pattern: /(?<=age_gfn_ret: .*ret=)[01]/, nth: 30, change: other },
      "answer",
      [],
    ] as const,
    [
      `${mode}: Accessed of an entry of a dump`,
      { trace: `${mode}/age4k`, pattern: /(?<=spte level=1 .*val=)[0-9a-f]+/, nth: 80, change: flipBit(8) },
      "entry",
      [],
    ] as const,
    [
      `${mode}: place of an entry of a dump`,
      { trace: `${mode}/age4k`, pattern: /(?<=spte level=1 .*sptep=)[0-9a-f]+/, nth: 80, change: flipBit(3) },
      "entry",
      [],
    ] as const,
    [
      `${mode}: idle answer`,
      { trace: `${mode}/age4k`, pattern: /(?<=idle_get page.*idle=)[01]/, nth: 70, change: other },
      "idle",
      [],
    ] as const,
    [
      `${mode}: word of a dirty bitmap`,
      { trace: `${mode}/dirty4k`, pattern: /(?<=bitmap word=0 )[0-9a-f]+/, nth: 1, change: flipBit(3) },
      "bitmap",
      [],
    ] as const,
    [
      `${mode}: number of dirty pages`,
      {
        trace: `${mode}/dirty4k`,
        pattern: /(?<=getlog dirty=)\d+/,
        nth: 1,
        change: (n: string) => `${+n + 1}`,
      },
      "bitmap",
      [],
    ] as const,
  ]),
  ...[NPT, NOAD].flatMap((mode) => [
    [
      `${mode}: fixed of fast_page_fault`,
      { trace: `${mode}/dirty4k`, pattern: /(?<=fast_page_fault: .*fixed )[01]/, nth: 3, change: other },
      "event",
      ["fixed"],
    ] as const,
    [
      `${mode}: new value of fast_page_fault`,
      {
        trace: `${mode}/dirty4k`,
        pattern: /(?<=fast_page_fault: .*new )[0-9a-f]+/,
        nth: 3,
        change: flipBit(1),
      },
      "event",
      ["new_spte"],
    ] as const,
  ]),
  [
    "access that a fault asks for",
    { trace: `${NPT}/age4k`, pattern: /(?<=requested: .*access )f/, nth: 5, change: () => "7" },
    "event",
    ["access"],
  ],
  [
    "value of a guest's entry at a later walk",
    { trace: `${SHADOW}/age4k`, pattern: /(?<=paging_element: pte )[0-9a-f]+/, nth: 60, change: flipBit(5) },
    "event",
    ["pte"],
  ],
];

describe("a changed output is a mismatch, and the only one", () => {
  test.each(EXACT)("%s", (_name, mutation, kind, fields) => {
    const { line, report } = replayMutated(mutation);
    expect(report.mismatches).toHaveLength(1);
    expect(report.mismatches[0]).toMatchObject({ line, kind, fields });
  });
});

test("a fault for which the model's entries are no reason is a mismatch at the fault", () => {
  const found = /(?<=page_fault: .*error_code 0x)[0-9a-f]+/;
  const { line, report } = replayMutated({
    trace: `${NPT}/age4k`,
    pattern: found,
    nth: 20,
    change: flipBit(0),
  });
  expect(report.mismatches[0]).toMatchObject({ line, kind: "answer", what: "what refuses the access" });
});

describe("a line that is missing is found", () => {
  const dropped = (trace: string, pattern: RegExp, nth: number): Mutation => ({
    trace,
    pattern,
    nth,
    change: null,
  });

  test("the last event of an operation: the model has one too many", () => {
    const { line, report } = replayMutated(dropped(`${NPT}/age4k`, /kvm_mmu_set_spte: /, 40));
    expect(report.mismatches).toHaveLength(1);
    expect(report.mismatches[0]).toMatchObject({ line: line - 1, kernel: "(nothing)" });
  });

  test("an event amid an operation: every later one of the operation differs", () => {
    const { line, report } = replayMutated(dropped(`${NPT}/age4k`, /kvm_tdp_mmu_spte_changed: /, 10));
    expect(report.mismatches.length).toBeGreaterThan(1);
    expect(report.mismatches[0]!.line).toBe(line + 1);
    expect(report.mismatches.at(-1)!.line).toBeLessThan(line + 10);
  });

  test("an aging call: what it would have changed is still there at the next dump", () => {
    const { report } = replayMutated(dropped(`${SHADOW}/age4k`, /kvm_age_hva: /, 10));
    expect(report.mismatches.map(({ kind }) => kind)).toContain("entry");
  });

  test("a fault: what it mapped is not in the model", () => {
    const { line, report } = replayMutated(dropped(`${SHADOW}/age4k`, /kvm_page_fault: /, 20));
    expect(report.mismatches.length).toBeGreaterThan(0);
    expect(report.mismatches[0]!.line).toBeGreaterThanOrEqual(line - 20);
  });
});

test("a hashed pointer that changes its entry is found wherever the entry is seen again", () => {
  const pattern = /(?<=fast_page_fault: .*sptep )[0-9a-f]+/;
  const { line, report } = replayMutated({ trace: `${NPT}/dirty4k`, pattern, nth: 3, change: flipBit(4) });
  expect(report.mismatches).toHaveLength(2);
  for (const mismatch of report.mismatches) {
    expect(mismatch.line).toBeGreaterThan(line);
    expect(mismatch.fields).toEqual(["sptep"]);
  }
});

test("the host's right to write is input, so that changing it changes more than its line", () => {
  const HOST_WRITABLE = 9;
  const pattern = /(?<=kvm_mmu_set_spte: .*spte )[0-9a-f]+/;
  const mutation = { trace: `${NPT}/age4k`, pattern, nth: 40, change: flipBit(HOST_WRITABLE) };
  expect(replayMutated(mutation).report.mismatches.length).toBeGreaterThan(1);
});

describe("another kernel's rules do not give the trace", () => {
  test.each([
    [NPT, "linux-6.15"],
    [NPT, "linux-6.12"],
    [NOAD, "linux-6.15"],
    [LOCKED, "linux-7.3"],
  ] as const)("%s as %s", (mode, kernel) => {
    const records = recordsOf(kernelTraceText(`${mode}/age4k`));
    const { counts, mismatches } = replayTrace(records, { kernel });
    expect(mismatches.length).toBeGreaterThan(10);
    expect(counts.event.matched).toBeLessThan(counts.event.compared);
  });

  test("EPT with A/D bits is not EPT without", () => {
    const records = recordsOf(kernelTraceText("linux-7.3-ept-ad/age4k"));
    expect(replayTrace(records, { adBits: false }).mismatches.length).toBeGreaterThan(10);
  });
});
