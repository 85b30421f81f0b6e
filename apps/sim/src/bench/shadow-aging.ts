import { kvmRmapAgeGfnRange } from "@kvm-age/shadow-mmu";
import { type BenchRow, nanoseconds, ratio } from "./bench-row.js";
import { LeafTables, YOUNG_SHARES } from "./leaf-tables.js";
import { PTE_PREFETCH_NUM, ShadowVm } from "./shadow-vm.js";

const SINGLE_PAGES = 1 << 20;
const ALIASES = 20;
const ALIASED_PAGES = 1 << 15;

/** A VM that has every page mapped as often as its guest's tables do. */
function populatedVm(mmu: "direct" | "shadow", guestPages: number, aliases: number): ShadowVm {
  const vm = new ShadowVm({ mmu, guestPages, arenaBytes: 64 << 20, aliases, used: true });
  vm.host.prefetchable = true;
  for (let alias = 0; alias < aliases; alias++) {
    for (let page = 0; page < guestPages; page += PTE_PREFETCH_NUM) vm.fault(page, alias);
  }
  return vm;
}

function rowsOf(name: string, vm: ShadowVm, perGfn: number): BenchRow[] {
  const { cpu, shadow, wholeRange: range } = vm;
  const tables = new LeafTables(vm.machine, shadow.format, vm.rootHpa);
  return YOUNG_SHARES.map((share) => {
    const bare = tables.scanNs(share, () => tables.bareScan());
    const scan = tables.scanNs(share, () => kvmRmapAgeGfnRange(shadow, cpu, range, false));
    return {
      name: `${name}, ${share * 100} % young`,
      figure: `${nanoseconds(scan * perGfn)} per gfn, ${nanoseconds(scan)} per SPTE`,
      baseline: `bare wasm loop ${nanoseconds(bare)}`,
      ratio: ratio(scan, bare),
      aim: "",
    };
  });
}

/** `kvmRmapAgeGfnRange` without `mmu_lock` on lists of one entry, against a bare wasm loop on the same SPTEs. */
export function benchShadowAgingSingle(): BenchRow[] {
  return rowsOf("shadow aging, 1 entry a gfn", populatedVm("direct", SINGLE_PAGES, 1), 1);
}

/** The same on lists of twenty, of pages that the guest's own tables map as often. */
export function benchShadowAgingLong(): BenchRow[] {
  return rowsOf(
    `shadow aging, ${ALIASES} entries a gfn`,
    populatedVm("shadow", ALIASED_PAGES, ALIASES),
    ALIASES,
  );
}
