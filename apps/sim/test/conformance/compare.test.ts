import type { TraceEvent } from "@kvm-age/machine";
import { createSpteFormat } from "@kvm-age/spte";
import type { KvmEvent } from "@kvm-age/trace";
import { describe, expect, test } from "vitest";
import { COMPARED_EVENTS, EventComparison } from "../../src/conformance/compare/compare-event.js";
import { HashedPointers } from "../../src/conformance/compare/hashed-pointers.js";
import { isReplayed, isReplayedEvent } from "../../src/conformance/compare/replayed-events.js";
import { TablePages } from "../../src/conformance/compare/table-pages.js";
import { linesOf, payloads } from "./kit/trace-lines.js";

const KERNEL_PAGE = 0x10_0000_0000;
const MODEL_PAGE = 0x14_5000;

describe("TablePages", () => {
  test("two pages at first sight are a pair, at every equal offset", () => {
    const pages = new TablePages();
    expect(pages.same(MODEL_PAGE + 8, KERNEL_PAGE + 8)).toBe(true);
    expect(pages.same(MODEL_PAGE, KERNEL_PAGE)).toBe(true);
    expect(pages.same(MODEL_PAGE, KERNEL_PAGE + 8)).toBe(false);
    expect(pages.modelPage(KERNEL_PAGE)).toBe(MODEL_PAGE);
  });

  test("neither of a pair can have another partner until the model frees its page", () => {
    const pages = new TablePages();
    pages.same(MODEL_PAGE, KERNEL_PAGE);
    expect(pages.same(MODEL_PAGE, KERNEL_PAGE + 0x1000)).toBe(false);
    expect(pages.same(MODEL_PAGE + 0x1000, KERNEL_PAGE)).toBe(false);
    pages.release(MODEL_PAGE);
    expect(pages.modelPage(KERNEL_PAGE)).toBeNull();
    expect(pages.same(MODEL_PAGE + 0x1000, KERNEL_PAGE)).toBe(true);
  });

  test("a look at different offsets makes no pair", () => {
    const pages = new TablePages();
    pages.same(MODEL_PAGE, KERNEL_PAGE + 8);
    expect(pages.modelPage(KERNEL_PAGE)).toBeNull();
  });
});

const format = createSpteFormat({ mode: "npt" });
const ORIGIN = { kind: "kvm", line: 1, comm: "t", pid: 1, cpu: 0, flags: "", timestampNs: 0 } as const;
const SET = { gfn: 1, spte: 0x1000e67n, level: 1, sptep: 0x5008, r: true, x: true, u: true };

function comparison(pointers: HashedPointers = new HashedPointers()): EventComparison {
  return new EventComparison(format, new TablePages(), pointers);
}

function kernel(name: string, fields: object): KvmEvent {
  return { ...ORIGIN, name, fields } as unknown as KvmEvent;
}

function model(name: string, fields: object): TraceEvent {
  return { name, fields } as TraceEvent;
}

describe("EventComparison", () => {
  test.each(Object.entries(SET).filter(([name]) => name !== "sptep"))("sees another %s", (field, value) => {
    const changed = typeof value === "boolean" ? !value : typeof value === "bigint" ? value ^ 32n : value + 1;
    const differences = comparison().differences(
      kernel("kvm_mmu_set_spte", SET),
      model("kvm_mmu_set_spte", { ...SET, [field]: changed }),
    );
    expect(differences).toEqual([field]);
  });

  test("numbers of 32 and of 64 bits may be equal", () => {
    const fields = { gfn: 1, pfn: 2, level: 1, access: 7 };
    const same = comparison().differences(
      kernel("kvm_mmu_spte_requested", fields),
      model("kvm_mmu_spte_requested", { ...fields, pfn: 2n }),
    );
    expect(same).toEqual([]);
  });

  test("another event is a difference of the name alone", () => {
    const found = comparison().differences(kernel("kvm_mmu_set_spte", SET), model("fast_page_fault", {}));
    expect(found).toEqual(["name"]);
  });

  test("what a kernel does not print is not compared", () => {
    const fields = { gfn: 1, pfn: 2, level: 1, access: 7 };
    const found = (access: number | null): readonly string[] =>
      comparison().differences(
        kernel("kvm_mmu_spte_requested", { ...fields, access }),
        model("kvm_mmu_spte_requested", fields),
      );
    expect(found(null)).toEqual([]);
    expect(found(3)).toEqual(["access"]);
  });

  test("a link to what is the same table is the same; leaves and flags must be equal to the bit", () => {
    const compare = comparison();
    const [theirs, ours] = [0x10287827n, 0x145827n];
    expect(compare.sameEntry(theirs, ours, 2)).toBe(true);
    expect(compare.sameEntry(theirs, 0x146827n, 2)).toBe(false);
    expect(compare.sameEntry(theirs, ours ^ 0x20n, 2)).toBe(false);
    expect(comparison().sameEntry(0x10287e67n, 0x145e67n, 1)).toBe(false);
  });

  test("hashed pointers are compared one to one, until their page is freed", () => {
    const fields = {
      vcpu: 0,
      gva: 0n,
      error_code: 0n,
      old_spte: 0n,
      new_spte: 0n,
      spurious: false,
      fixed: true,
    };
    const pointers = new HashedPointers();
    const compare = comparison(pointers);
    const found = (theirs: bigint, ours: bigint): readonly string[] =>
      compare.differences(
        kernel("fast_page_fault", { ...fields, sptep: theirs }),
        model("fast_page_fault", { ...fields, sptep: ours }),
      );
    expect(found(0xabcn, 0x145008n)).toEqual([]);
    expect(found(0xabcn, 0x145008n)).toEqual([]);
    expect(found(0xdefn, 0x145008n)).toEqual(["sptep"]);
    expect(found(0xabcn, 0x145010n)).toEqual(["sptep"]);
    expect(found(0n, 0x145008n)).toEqual(["sptep"]);
    expect(found(0n, 0n)).toEqual([]);
    pointers.forgetPage(0x145000);
    expect(found(0x123n, 0x145008n)).toEqual([]);
  });
});

describe("replayed events", () => {
  test("are those that are compared, and the four inputs", () => {
    for (const name of Object.keys(COMPARED_EVENTS)) expect(isReplayedEvent(name)).toBe(true);
    expect(isReplayedEvent("kvm_page_fault")).toBe(true);
    for (const name of ["kvm_exit", "kvm_entry", "toString", "sched_switch"]) {
      expect(isReplayedEvent(name)).toBe(false);
    }
  });

  test("other subsystems' records have no part in a replay; notes do", () => {
    const [entry, foreign, note] = linesOf(
      [1, payloads.root()],
      [1, "sched_wakeup: comm=a pid=1 prio=120"],
      [1, payloads.note("x")],
    );
    expect([entry, foreign, note].map((record) => isReplayed(record!))).toEqual([true, false, true]);
  });
});
