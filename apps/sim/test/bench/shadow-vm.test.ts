import { describe, expect, it } from "vitest";
import { PTE_PREFETCH_NUM, ShadowVm, UnmappedFaultError } from "../../src/bench/shadow-vm.js";

const MMUS = ["direct", "shadow", "tdp+nested"] as const;
const PAGES = 512;
const ARENA_BYTES = 16 << 20;

function leaves(vm: ShadowVm): number {
  return vm.shadow.statistics.read(vm.cpu).pages_4k;
}

describe.each(MMUS)("ShadowVm, --mmu %s", (mmu) => {
  it("maps one page with each fault while neighbours are not at hand", () => {
    const vm = new ShadowVm({ mmu, guestPages: PAGES, arenaBytes: ARENA_BYTES });
    for (let page = 0; page < PAGES; page++) {
      vm.fault(page);
      expect(leaves(vm)).toBe(page + 1);
    }
  });

  it("maps the neighbours of a page whose entries were used", () => {
    const vm = new ShadowVm({ mmu, guestPages: PAGES, arenaBytes: ARENA_BYTES, used: true });
    vm.host.prefetchable = true;
    vm.fault(PTE_PREFETCH_NUM);
    expect(leaves(vm)).toBe(PTE_PREFETCH_NUM);
  });

  it("does not take a fault that mapped nothing for one that did", () => {
    const vm = new ShadowVm({ mmu, guestPages: PAGES, arenaBytes: ARENA_BYTES });
    vm.fault(0);
    expect(() => vm.fault(0)).toThrow(UnmappedFaultError);
  });
});

describe("ShadowVm", () => {
  it("maps a page once for each alias, all in the list of one gfn", () => {
    const vm = new ShadowVm({ mmu: "shadow", guestPages: PAGES, arenaBytes: ARENA_BYTES, aliases: 3 });
    for (let alias = 0; alias < 3; alias++) vm.fault(7, alias);
    const statistics = vm.shadow.statistics.read(vm.cpu);
    expect(statistics.pages_4k).toBe(3);
    // Entries that the list had before the last one.
    expect(statistics.max_mmu_rmap_size).toBe(2);
  });

  it("maps L1's pages by the TDP MMU beside those of L2", () => {
    const vm = new ShadowVm({ mmu: "tdp+nested", guestPages: PAGES, arenaBytes: ARENA_BYTES });
    vm.tdpFault(3);
    expect(leaves(vm)).toBe(0);
    vm.fault(3);
    expect(leaves(vm)).toBe(1);
    expect(() => vm.tdpFault(3)).toThrow(UnmappedFaultError);
  });
});
