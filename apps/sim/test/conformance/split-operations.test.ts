import { describe, expect, test } from "vitest";
import { splitOperations } from "../../src/conformance/input/split-operations.js";
import { OperationsByLine } from "../../src/conformance/report/operations-by-line.js";
import { linesOf, payloads, type TaskLine } from "./kit/trace-lines.js";

const { age, changed, fault, note, requested, root, unmap } = payloads;

/** Kind, position, and lines of each operation. */
function split(...lines: readonly TaskLine[]): unknown[] {
  return splitOperations(linesOf(...lines)).map(({ kind, line, records }) => [
    kind,
    line,
    records.map((record) => record.line),
  ]);
}

describe("splitOperations", () => {
  test("an input and what follows from it are one operation, up to the next input", () => {
    const lines = split([1, fault(0x1000)], [1, requested(1)], [1, age(0, 0x1000)], [1, changed(1, 1)]);
    expect(lines).toEqual([
      ["fault", 1, [1, 2]],
      ["age", 4, [3, 4]],
    ]);
  });

  test("tasks do not take each other's events, and stand in the order of their effects", () => {
    const lines = split(
      [1, fault(0x1000)],
      [2, age(0, 0x1000)],
      [1, requested(1)],
      [2, changed(2, 1)],
      [1, changed(1, 1)],
    );
    expect(lines).toEqual([
      ["age", 4, [2, 4]],
      ["fault", 5, [1, 3, 5]],
    ]);
  });

  test("a probe at a caller's entry begins the call whose event follows", () => {
    const probe = "clear_young: (kvm_mmu_notifier_clear_young+0x4/0x280) start=0x1000 end=0x2000";
    const answer =
      "clear_young_ret: (__mmu_notifier_clear_young+0x5f/0xa0 <- kvm_mmu_notifier_clear_young) ret=1";
    const lines = split(
      [1, probe],
      [1, age(0x1000, 0x2000)],
      [1, answer],
      [1, probe],
      [1, age(0x1000, 0x2000)],
    );
    expect(lines).toEqual([
      ["age", 1, [1, 2, 3]],
      ["age", 4, [4, 5]],
    ]);
  });

  test("two invalidations in a row are two", () => {
    expect(split([1, unmap(0, 0x1000)], [1, unmap(0, 0x1000)])).toEqual([
      ["unmap", 1, [1]],
      ["unmap", 2, [2]],
    ]);
  });

  test("everything between the notes of a slot's change belongs to it", () => {
    const lines = split(
      [1, note("agevm: log 1 begin slot=1")],
      [1, changed(1, 1)],
      [1, unmap(0, 0x1000)],
      [1, note("agevm: log 1 end rc=0")],
      [1, changed(2, 1)],
    );
    expect(lines).toEqual([
      ["bracket", 2, [1, 2, 3]],
      ["note", 4, [4]],
      ["unprompted", 5, [5]],
    ]);
  });

  test("outputs without an input are unprompted; notes take nothing", () => {
    expect(split([1, root()], [1, note("agevm: idle_set first=0 count=1")], [1, changed(1, 1)])).toEqual([
      ["unprompted", 1, [1]],
      ["note", 2, [2]],
      ["unprompted", 3, [3]],
    ]);
  });

  test("every record is in exactly one operation", () => {
    const records = linesOf(
      [1, root()],
      [2, fault(0)],
      [1, note("somebody else's")],
      [2, changed(1, 1)],
      [1, root()],
    );
    const lines = splitOperations(records).flatMap((operation) => operation.records.map(({ line }) => line));
    expect(lines.sort()).toEqual(records.map(({ line }) => line));
  });
});

describe("OperationsByLine", () => {
  const operations = splitOperations(
    linesOf([1, fault(0x1000)], [2, age(0, 0x1000)], [1, changed(1, 1)], [2, changed(2, 1)]),
  );
  const byLine = new OperationsByLine(operations);

  test("finds the operation of a record's line", () => {
    expect([1, 2, 3, 4].map((line) => byLine.find(line)?.kind)).toEqual(["fault", "age", "fault", "age"]);
  });

  test("for other lines the last operation before, or none", () => {
    expect(byLine.find(9)?.kind).toBe("age");
    expect(byLine.find(0)).toBeNull();
  });
});
