import { describe, expect, test } from "vitest";
import {
  checkTrace,
  identifyTrace,
  LEGALITY_RULES,
  LegalityChecker,
  type LegalityReport,
  type LegalityRuleName,
  parseTraceText,
  type TraceRecord,
} from "../../src/index.js";
import { traceFixture } from "../support/trace-fixture.js";
import { ageHva, changed, line, recordsOf } from "../support/trace-lines.js";

const THP = parseTraceText(traceFixture("linux-7.3-npt-tdpmmu/age_thp.trace.gz")).records;
const NPT = identifyTrace(THP);
const SHADOW = parseTraceText(traceFixture("linux-7.3-nonpt/age4k_zeropage.trace.gz")).records;

const EMPTY = "8000000000000000";
const YOUNG = "100a1be67";
const AGED = "100a1be47";
const OTHER_TASK = { pid: 8, us: 10 };

function check(...lines: readonly string[]): LegalityReport {
  return checkTrace(recordsOf(...lines), NPT);
}

function rules(report: LegalityReport): readonly LegalityRuleName[] {
  return report.violations.map(({ rule }) => rule);
}

/** A tree with one 4 KiB page, gfn 2, mapped by a fault. */
const MAPPED = [
  line("kvm_mmu_get_page: sp gen 0 gfn 0 l4 8-byte q0 direct rwux nxe ad root 0 sync new"),
  line("kvm_page_fault: vcpu 0 rip 0x1000 address 0x0000000000002000 error_code 0x200000006"),
  line("kvm_mmu_spte_requested: gfn 2 pfn 100a1b level 1 access f"),
  line("kvm_mmu_get_page: sp gen 0 gfn 0 l3 8-byte q0 direct rwux nxe ad root 0 sync new"),
  changed(0, 4, EMPTY, "10248c827"),
  line("kvm_mmu_get_page: sp gen 0 gfn 0 l2 8-byte q0 direct rwux nxe ad root 0 sync new"),
  changed(0, 3, EMPTY, "100c23827"),
  line("kvm_mmu_get_page: sp gen 0 gfn 0 l1 8-byte q0 direct rwux nxe ad root 0 sync new"),
  changed(0, 2, EMPTY, "10b3fe827"),
  changed(2, 1, EMPTY, YOUNG),
  line(`kvm_mmu_set_spte: gfn 2 spte ${YOUNG} (rwxu) level 1 at 10b3fe010`),
];

describe("a legal trace", () => {
  test.each([
    ["TDP MMU, 7.3", "linux-7.3-npt-tdpmmu/age_thp.trace.gz"],
    ["TDP MMU, 6.12", "linux-6.12-npt-tdpmmu/age_thp.trace.gz"],
    ["shadow paging", "linux-7.3-nonpt/age4k_zeropage.trace.gz"],
  ])("of a kernel has no violation: %s", (_name, path) => {
    const { records } = parseTraceText(traceFixture(path));
    const report = checkTrace(records, identifyTrace(records));
    expect(report.violations).toEqual([]);
    expect(report.transitions).toBeGreaterThan(30);
    expect(report.assumedTables).toBe(0);
  });

  test("may be aged, used by the CPU, and aged again", () => {
    const report = check(
      ...MAPPED,
      ageHva(0x7f00_0000_2000, 1),
      changed(2, 1, YOUNG, AGED),
      changed(2, 1, YOUNG, AGED),
    );
    expect(report.violations).toEqual([]);
  });
});

test("a second address space has a tree of its own", () => {
  const inSmm = MAPPED.map((text) =>
    text
      .replace("as id 0", "as id 1")
      .replace("100a1be67", "100a2be67")
      .replace("pfn 100a1b", "pfn 100a2b")
      .replace("10b3fe", "10b4fe"),
  );
  expect(check(...MAPPED, ...inSmm, changed(2, 1, YOUNG, EMPTY)).violations).toEqual([]);
});

describe("a rule is found broken", () => {
  const age = ageHva(0x7f00_0000_2000, 1);
  test.each<[LegalityRuleName, ...string[]]>([
    ["old-value-is-the-last-value", changed(2, 1, "100a1ce67", EMPTY)],
    ["aging-clears-accessed-only", age, changed(2, 1, YOUNG, "100a1be07")],
    [
      "only-aging-clears-accessed",
      age,
      line("kvm_mmu_zap_all_fast: kvm-mmu-valid-gen 0 used_pages 0"),
      changed(2, 1, YOUNG, AGED),
    ],
    ["no-pfn-change-in-place", changed(2, 1, YOUNG, "100a1ce67")],
    ["writable-invariants", changed(2, 1, YOUNG, "100a1bc67")],
    [
      "frozen-only-in-teardown",
      line("kvm_mmu_get_page: sp gen 0 gfn 200 l1 8-byte q0 direct rwux nxe ad root 0 sync new"),
      changed(0x200, 2, EMPTY, "10b3ff827"),
      line("kvm_mmu_prepare_zap_page: sp gen 0 gfn 200 l1 8-byte q0 direct rwux nxe ad root 0 sync"),
      changed(0x200, 2, "10b3ff827", EMPTY),
      changed(2, 1, YOUNG, "80000000000001a0"),
    ],
    [
      "teardown-is-complete",
      line("kvm_mmu_prepare_zap_page: sp gen 0 gfn 0 l1 8-byte q0 direct rwux nxe ad root 0 sync"),
      changed(0, 2, "10b3fe827", EMPTY),
    ],
    ["entry-value-is-a-kernel-value", changed(2, 1, YOUNG, "8000000000000100")],
    ["table-follows-empty-entry", changed(0, 2, "10b3fe827", "10b3ff827")],
    ["nonleaf-is-made-by-the-kernel", changed(0x200, 2, EMPTY, "10b3ff825")],
    ["changed-means-different", changed(2, 1, YOUNG, YOUNG)],
    ["gfn-is-aligned", changed(2, 2, EMPTY, "10b3ff827")],
    ["table-is-linked", changed(0x40000, 1, EMPTY, YOUNG)],
    ["notifier-range", line("kvm_age_hva: mmu notifier age hva: 0x007f0000003000 -- 0x007f0000002000")],
    [
      "fast-fault-change",
      line(
        `fast_page_fault: vcpu 0 gva 2000 error_code P|W sptep 000000009b0ee433 old 0x${YOUNG} new 100a1be65 spurious 0 fixed 1`,
      ),
    ],
    ["generation-is-a-bit", line("kvm_mmu_zap_all_fast: kvm-mmu-valid-gen 2 used_pages 0")],
    [
      "zapped-page-was-in-use",
      line("kvm_mmu_prepare_zap_page: sp gen 0 gfn 40000 l1 8-byte q0 direct rwux nxe ad root 0 sync"),
    ],
  ])("%s", (rule, ...lines) => {
    const report = check(...MAPPED, ...lines);
    expect(rules(report)).toEqual([rule]);
    expect(report.violations[0]!.line).toBe(MAPPED.length + lines.length);
  });

  test("one that names the line it contradicts, and the history of the entry", () => {
    const [violation] = check(...MAPPED, changed(2, 1, "100a1ce67", EMPTY)).violations;
    expect(violation).toMatchObject({ contradicts: 10, entry: { asId: 0, gfn: 2, level: 1 } });
    expect(violation!.history.map(({ line: at, event }) => [at, event])).toEqual([
      [10, "kvm_tdp_mmu_spte_changed"],
      [11, "kvm_mmu_set_spte"],
    ]);
  });

  test("with a statement and a source for each", () => {
    for (const { statement, source } of Object.values(LEGALITY_RULES)) {
      expect(statement).toMatch(/\.$/);
      expect(source).not.toBe("");
    }
  });
});

describe("what a trace cannot show", () => {
  test("the first sight of an entry of older tables teaches its value", () => {
    const report = check(changed(2, 1, YOUNG, EMPTY), changed(3, 1, AGED, EMPTY));
    expect([report.violationCount, report.assumedTables]).toEqual([0, 1]);
    expect(rules(check(changed(2, 1, YOUNG, "100a1be65"), changed(2, 1, "100a1be61", EMPTY)))).toHaveLength(
      1,
    );
  });

  test("lines of two tasks may stand in the other order", () => {
    const [aged, zapped] = [changed(2, 1, YOUNG, AGED), changed(2, 1, AGED, EMPTY, OTHER_TASK)];
    const age = ageHva(0x7f00_0000_2000, 1);
    expect(check(...MAPPED, age, zapped, aged).violations).toEqual([]);
    expect(rules(check(...MAPPED, age, changed(2, 1, "100a1ce47", EMPTY, OTHER_TASK), aged))).toEqual([
      "old-value-is-the-last-value",
    ]);
  });

  test("after lost events every value is news", () => {
    const checker = new LegalityChecker(NPT);
    const feed = (records: readonly TraceRecord[]): void => {
      for (const record of records) checker.observe(record);
    };
    feed(recordsOf(...MAPPED));
    checker.eventsWereLost();
    feed(recordsOf(changed(2, 1, "100a1ce67", EMPTY)));
    expect(checker.finish().violationCount).toBe(0);
  });

  test("only so many violations are kept, all are counted", () => {
    const lines = Array.from({ length: 5 }, () => changed(2, 1, YOUNG, YOUNG));
    const report = checkTrace(recordsOf(...MAPPED, ...lines), NPT, { maxViolations: 2 });
    expect([report.violations.length, report.violationCount]).toEqual([2, 5]);
  });
});

describe("one wrong line", () => {
  test("of shadow paging is found by its guest walk", () => {
    const records = [...SHADOW];
    const at = records.findIndex(
      (record) => record.kind === "kvm" && record.name === "kvm_mmu_spte_requested",
    );
    const record = records[at] as Extract<TraceRecord, { name: "kvm_mmu_spte_requested" }> & { kind: "kvm" };
    records[at] = { ...record, fields: { ...record.fields, gfn: record.fields.gfn + 64 } } as TraceRecord;
    const report = checkTrace(records, identifyTrace(SHADOW));
    expect(report.violations.map(({ line: blamed }) => blamed)).toEqual([record.line]);
  });

  test("that a third contradicts takes the blame from the later one", () => {
    const wrong = MAPPED.map((text) => text.replace("new_spte 10b3fe827", "new_spte 10b3ff827"));
    const next = [
      line("kvm_page_fault: vcpu 0 rip 0x1000 address 0x0000000000003000 error_code 0x200000006"),
      line("kvm_mmu_spte_requested: gfn 3 pfn 100a1d level 1 access f"),
      changed(3, 1, EMPTY, "100a1de67"),
      line("kvm_mmu_set_spte: gfn 3 spte 100a1de67 (rwxu) level 1 at 10b3fe018"),
    ];
    expect(check(...wrong, ...next).violations).toMatchObject([
      { rule: "sptep-is-the-entry", line: 9, contradicts: 11 },
    ]);
  });
});
