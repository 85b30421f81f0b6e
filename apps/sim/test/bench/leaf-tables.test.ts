import { kvmRmapAgeGfnRange } from "@kvm-age/shadow-mmu";
import { describe, expect, it } from "vitest";
import { LeafTables, MissingLeafError } from "../../src/bench/leaf-tables.js";
import { PTE_PREFETCH_NUM, ShadowVm } from "../../src/bench/shadow-vm.js";

const PAGES = 1024;

/** A linear guest whose first `mapped` pages are mapped. */
function guest(mapped: number): ShadowVm {
  const vm = new ShadowVm({ mmu: "direct", guestPages: PAGES, arenaBytes: 16 << 20 });
  vm.host.prefetchable = true;
  for (let page = 0; page < mapped; page += PTE_PREFETCH_NUM) vm.fault(page);
  return vm;
}

function tablesOf(vm: ShadowVm): LeafTables {
  return new LeafTables(vm.machine, vm.shadow.format, vm.rootHpa);
}

describe("LeafTables", () => {
  it("finds every leaf below a root", () => {
    expect(tablesOf(guest(PAGES)).leaves).toBe(PAGES);
  });

  it("refuses tables that are not full", () => {
    const vm = guest(PAGES - PTE_PREFETCH_NUM);
    expect(() => tablesOf(vm)).toThrow(MissingLeafError);
  });

  it("gives each scan leaves of which the asked share is young", () => {
    const vm = guest(PAGES);
    const tables = tablesOf(vm);
    const scan = (): boolean => kvmRmapAgeGfnRange(vm.shadow, vm.cpu, vm.wholeRange, false);
    const found: boolean[] = [];
    for (const share of [0, 0.1, 1]) tables.scanNs(share, () => found.push(scan()));
    expect(new Set(found.slice(0, found.length / 3))).toEqual(new Set([false]));
    expect(new Set(found.slice(found.length / 3))).toEqual(new Set([true]));
    expect(scan()).toBe(false);
  });

  it("clears by the bare loop what the MMU's scan would clear", () => {
    const vm = guest(PAGES);
    const tables = tablesOf(vm);
    tables.scanNs(1, () => tables.bareScan());
    expect(kvmRmapAgeGfnRange(vm.shadow, vm.cpu, vm.wholeRange, false)).toBe(false);
  });
});
