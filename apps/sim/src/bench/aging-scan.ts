import { KvmPageFault } from "@kvm-age/page-fault";
import { linux73, PG_LEVEL_4K } from "@kvm-age/spte";
import {
  kvmTdpMmuAgeGfnRange,
  kvmTdpMmuPageFault,
  kvmTdpMmuTrySplitHugePages,
  type LeafScan,
} from "@kvm-age/tdp-mmu";
import { type BenchRow, nanoseconds, ratio } from "./bench-row.js";
import { LeafTables, YOUNG_SHARES } from "./leaf-tables.js";
import { LinearVm } from "./linear-vm.js";

const LEAVES = 4 << 20;
const PAGES_PER_1G = 1 << 18;

/** Name and aims of each form of the scan, for the shares of young leaves. */
const SCANS: Readonly<Record<LeafScan, { name: string; aims: readonly string[] }>> = {
  native: { name: "native leaf loop", aims: ["≤ 1.5×", "≤ 1.5×", "≤ 1.5×"] },
  iterator: { name: "full iterator", aims: ["≤ 10.5×", "≤ 4.5×", "≤ 3×"] },
};

/** A VM with 4 Mi leaves of 4K, made from 1G pages by eager splitting. */
function populatedVm(leafScan: LeafScan): LinearVm {
  const vm = new LinearVm({ guestPages: LEAVES, arenaBytes: 96 << 20, ruleSet: linux73, leafScan });
  vm.host.level = 3;
  for (let page = 0; page < LEAVES; page += PAGES_PER_1G) {
    kvmTdpMmuPageFault(vm.tdp, vm.cpu, vm.vcpu, vm.host, new KvmPageFault(vm.gpaOf(page), 2, false));
  }
  const { slot, start, end } = vm.wholeRange;
  vm.cpu.readLock(vm.tdp.mmuLock);
  kvmTdpMmuTrySplitHugePages(vm.tdp, vm.cpu, slot, start, end, PG_LEVEL_4K, true);
  vm.cpu.readUnlock(vm.tdp.mmuLock);
  return vm;
}

/** `kvmTdpMmuAgeGfnRange` over 4 Mi leaves, against a bare wasm loop on the same words. */
export function benchAgingScan(leafScan: LeafScan): BenchRow[] {
  const vm = populatedVm(leafScan);
  const tables = new LeafTables(vm.machine, vm.tdp.format, vm.rootHpa);
  const range = vm.wholeRange;
  const { name, aims } = SCANS[leafScan];
  return YOUNG_SHARES.map((share, index) => {
    const bare = tables.scanNs(share, () => tables.bareScan());
    const scan = tables.scanNs(share, () => kvmTdpMmuAgeGfnRange(vm.tdp, vm.cpu, range));
    return {
      name: `aging scan, ${name}, ${share * 100} % young`,
      figure: `${nanoseconds(scan)} per SPTE`,
      baseline: `bare wasm loop ${nanoseconds(bare)}`,
      ratio: ratio(scan, bare),
      aim: aims[index]!,
    };
  });
}
