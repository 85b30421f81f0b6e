import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { checkRmapHead, kvmRmapGet } from "../src/index.js";
import { type ListState, listState } from "./support/list-state.js";
import { add, readLockless, remove, zapAll, zapOne } from "./support/operations.js";
import { RmapVm } from "./support/vm.js";

/** One operation and the list after it. Of long lists `ids`, `single` and `iter` are recorded now and then. */
interface RecordedOp extends Partial<ListState> {
  readonly op: "add" | "remove" | "zap_one" | "zap_all";
  readonly id?: number;
  readonly ret?: number | boolean;
  readonly zapped?: readonly number[];
  readonly kind: ListState["kind"];
  readonly count: number;
  readonly descs: ListState["descs"];
}

interface RecordedCase {
  readonly id: string;
  readonly pattern: string;
  readonly ops: readonly RecordedOp[];
}

function readCases(kernel: string): readonly RecordedCase[] {
  const path = new URL(`./fixtures/${kernel}/rmap-ops.json.gz`, import.meta.url);
  return JSON.parse(gunzipSync(readFileSync(path)).toString("utf8")).cases;
}

/** What the operation returned, as far as the recording has it. */
function perform(vm: RmapVm, { op, id }: RecordedOp): { ret?: unknown; zapped?: unknown } {
  const head = vm.head();
  switch (op) {
    case "add":
      return { ret: add(vm, head, id!) };
    case "zap_all":
      return zapAll(vm, head);
    case "zap_one":
      zapOne(vm, head, id!);
      return {};
    default:
      remove(vm, head, id!);
      return {};
  }
}

/** The state, reduced to the keys that are recorded. */
function asRecorded(state: ListState, recorded: RecordedOp): Partial<ListState> {
  const descs = state.descs.map((desc, index) => desc.slice(0, recorded.descs[index]?.length));
  const { kind, count, single, iter } = state;
  return {
    kind,
    count,
    descs: descs as unknown as ListState["descs"],
    ...(recorded.single !== undefined && { single: single! }),
    ...(recorded.iter !== undefined && { iter }),
  };
}

/** A lockless reader sees the list, and leaves the head as it was. */
function checkLocklessWalk(vm: RmapVm, state: ListState): void {
  const before = kvmRmapGet(vm.cpu, vm.head());
  expect(readLockless(vm, vm.cpu, vm.head())).toEqual(state.iter);
  expect(vm.cpu.readOnce(vm.head())).toBe(before);
}

function replay(recorded: RecordedCase, duplicateCheck: boolean): void {
  const vm = new RmapVm({ duplicateCheck });
  for (const [index, op] of recorded.ops.entries()) {
    const results = perform(vm, op);
    const state = listState(vm, vm.cpu, vm.head());
    const { op: _op, id: _id, ...expected } = op;
    expect({ ...results, ...asRecorded(state, op) }, `${recorded.id}, operation ${index}`).toStrictEqual(
      expected,
    );
    checkLocklessWalk(vm, state);
    expect(checkRmapHead(vm.cpu, vm.head())).toEqual([]);
    expect(vm.descriptors()).toBe(op.descs.length);
  }
  vm.cpu.lockdep.assertNothingHeld();
}

/** Cases and operations in each file: a file that lost some must fail. */
const FILES: readonly [string, number, number][] = [
  ["linux-6.15", 276, 8870],
  ["linux-7.3", 264, 9282],
];

describe.each(FILES)("lists as %s's own functions leave them", (kernel, caseCount, opCount) => {
  const cases = readCases(kernel);

  it(`all ${caseCount} cases are there, with ${opCount} operations`, () => {
    expect(cases).toHaveLength(caseCount);
    expect(cases.reduce((sum, { ops }) => sum + ops.length, 0)).toBe(opCount);
    expect([...new Set(cases.map(({ pattern }) => pattern))].sort()).toEqual(["fifo", "lifo", "random"]);
  });

  // The check for duplicates reads, and changes nothing: half of the cases run without it.
  it.each(["random", "fifo", "lifo"])("removal in the pattern %s", (wanted) => {
    const chosen = cases.filter(({ pattern }) => pattern === wanted);
    for (const [index, recorded] of chosen.entries()) replay(recorded, index % 2 === 0);
  });
});
