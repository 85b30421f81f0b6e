import { createSpteFormat } from "@kvm-age/spte";
import { parseTraceText } from "@kvm-age/trace";
import { describe, expect, test } from "vitest";
import { splitOperations } from "../../src/conformance/input/split-operations.js";
import { whyIncomplete } from "../../src/conformance/reading/why-incomplete.js";
import {
  ConformanceReport,
  describedFields,
  describeEvent,
  type Mismatch,
} from "../../src/conformance/report/conformance-report.js";
import { explainMismatch } from "../../src/conformance/report/explain-mismatch.js";
import { mismatchText } from "../../src/conformance/report/mismatch-text.js";
import { OperationsByLine } from "../../src/conformance/report/operations-by-line.js";
import { plainStyle } from "../../src/terminal/style.js";
import { linesOf, payloads } from "./kit/trace-lines.js";

const format = createSpteFormat({ mode: "npt" });
const operations = new OperationsByLine(
  splitOperations(linesOf([7, payloads.age(0x1000, 0x2000)], [7, payloads.changed(1, 1)])),
);

const MISMATCH: Mismatch = {
  kind: "event",
  line: 2,
  what: "kvm_tdp_mmu_spte_changed differs",
  kernel: "kvm_tdp_mmu_spte_changed as_id=0 gfn=1 level=1 old_spte=1000e67 new_spte=1000e47",
  model: "kvm_tdp_mmu_spte_changed as_id=0 gfn=1 level=1 old_spte=1000e67 new_spte=1000e67",
  fields: ["new_spte"],
};

describe("ConformanceReport", () => {
  test("counts by kind, and keeps mismatches", () => {
    const report = new ConformanceReport();
    report.match("event");
    report.match("idle");
    report.mismatch(MISMATCH);
    expect(report.counts.event).toEqual({ compared: 2, matched: 1 });
    expect(report.counts.idle).toEqual({ compared: 1, matched: 1 });
    expect(report.mismatches).toEqual([MISMATCH]);
  });

  test("an event's fields can be read back from its description", () => {
    const [event] = linesOf([1, payloads.changed(0x40003, 1)]);
    const text = describeEvent(event as Parameters<typeof describeEvent>[0]);
    expect(text).toBe(MISMATCH.kernel.replace("gfn=1", "gfn=40003"));
    expect([...describedFields(text)]).toEqual([
      ["as_id", "0"],
      ["gfn", "40003"],
      ["level", "1"],
      ["old_spte", "1000e67"],
      ["new_spte", "1000e47"],
    ]);
  });
});

describe("a mismatch explained", () => {
  test("has the differing SPTEs in words, and the operation", () => {
    const explained = explainMismatch(format, operations, MISMATCH);
    expect(explained.words).toHaveLength(1);
    expect(explained.words[0]).toMatch(/^new_spte, kernel -> model: A \(bits 5\) .* -> /);
    expect(explained.operation).toEqual({ line: 1, text: "task-7: kvm_age_hva start=1000 end=2000" });
  });

  test("is shown side by side, with a mark below what differs", () => {
    const explained = explainMismatch(format, operations, MISMATCH);
    const text = mismatchText("t", { ...explained, fields: ["new_spte"], words: [] }, plainStyle);
    expect(text.split("\n")).toEqual([
      "t, line 2: kvm_tdp_mmu_spte_changed differs in new_spte",
      "  kernel  as_id=0 gfn=1 level=1 old_spte=1000e67 new_spte=1000e47",
      "  model   as_id=0 gfn=1 level=1 old_spte=1000e67 new_spte=1000e67",
      "                                                 ^^^^^^^^^^^^^^^^",
      "  in line 1: task-7: kvm_age_hva start=1000 end=2000",
    ]);
  });

  test("values of different kinds are described each", () => {
    const zapped = { ...MISMATCH, model: MISMATCH.kernel.replace("1000e47", "8000000000000000") };
    const { words } = explainMismatch(format, operations, zapped);
    expect(words[0]).toMatch(/^new_spte, kernel -> model: kind \(bits 63:0\) leaf -> non-present$/);
  });

  test("entries of a dump as well, if they are of one level", () => {
    const entry = { ...MISMATCH, kind: "entry", fields: [] } as const;
    const values = { kernel: "level 1 gfn 1 1000e47", model: "level 1 gfn 1 1000e67" };
    expect(explainMismatch(format, operations, { ...entry, ...values }).words[0]).toContain(
      "entry, kernel -> model: A",
    );
    const levels = { ...values, model: "level 2 gfn 0 1000e67" };
    expect(explainMismatch(format, operations, { ...entry, ...levels }).words).toEqual([]);
  });

  test("other events and values stand one above the other", () => {
    const explained = explainMismatch(format, operations, {
      ...MISMATCH,
      model: "kvm_mmu_set_spte gfn=1",
      fields: ["name"],
    });
    const text = mismatchText("t", { ...explained, fields: ["name"], words: [] }, plainStyle);
    expect(text).toContain(`  kernel  ${MISMATCH.kernel}\n  model   kvm_mmu_set_spte gfn=1\n`);
  });
});

describe("whyIncomplete", () => {
  const LINES = {
    root: `            task-1       [000] ...1.     1.000001: ${payloads.root()}`,
    fault: `            task-1       [000] ...1.     1.000002: ${payloads.fault(0x1000)}`,
    start: `            task-1       [000] ...1.     1.000003: ${payloads.note("agevm: start pid=1")}`,
    other: `            task-1       [000] ...1.     1.000004: ${payloads.note("agevm: idle_set first=0")}`,
  };

  function reasons(...lines: readonly string[]): readonly string[] {
    return whyIncomplete({ ...parseTraceText(lines.join("\n")), truncated: null });
  }

  test("a trace that begins with its VM is complete", () => {
    expect(reasons(LINES.start, LINES.root, LINES.fault, LINES.other)).toEqual([]);
    expect(reasons("# entries-in-buffer/entries-written: 2/2   #P:2", LINES.root, LINES.fault)).toEqual([]);
  });

  test.each([
    ["lost events", ["CPU:1 [LOST 12 EVENTS]", LINES.root], "12 events were lost"],
    ["a damaged line", [LINES.root, LINES.fault.replace("vcpu", "vcp")], "line 2 cannot be read"],
    [
      "an overwritten buffer",
      ["# entries-in-buffer/entries-written: 5/9   #P:2"],
      "4 of 9 events were overwritten",
    ],
    ["a late beginning", [LINES.fault, LINES.root], "the fault in line 1 comes before its VM has a root"],
    ["a VMM that had begun", [LINES.other, LINES.start], "the VMM's note in line 1 comes before"],
  ])("%s is a reason", (_name, lines, reason) => {
    const found = reasons(...lines);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(reason);
  });
});
