import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { KvmPageFault } from "@kvm-age/page-fault";
import { isLargePte, isShadowPresentPte, linux73, PG_LEVEL_4K, type Spte, spteToPfn } from "@kvm-age/spte";
import {
  kvmTdpMmuAgeGfnRange,
  kvmTdpMmuPageFault,
  kvmTdpMmuTrySplitHugePages,
  type LeafScan,
  rootOfVcpu,
  TdpIter,
} from "@kvm-age/tdp-mmu";
import { type BenchRow, nanoseconds, ratio } from "./bench-row.js";
import { LinearVm } from "./linear-vm.js";
import { medianOf, timeNs } from "./timing.js";

const LEAVES = 4 << 20;
const PAGES_PER_1G = 1 << 18;
const ROUNDS = 7;
const YOUNG_SHARES = [0, 0.1, 1];

/** A VM with 4 Mi leaves of 4K, made from 1G pages by eager splitting. */
export function populatedVm(leafScan: LeafScan): LinearVm {
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

/** The tables that hold the leaves, in order of gfn. */
export function leafTables(vm: LinearVm): Address[] {
  const tables: Address[] = [];
  const iter = new TdpIter(vm.tdp.format);
  const { start, end } = vm.wholeRange;
  const root = rootOfVcpu(vm.tdp, vm.cpu, vm.vcpu);
  for (iter.start(vm.cpu, root, 2, start); iter.valid && iter.gfn < end; iter.next(vm.cpu)) {
    const spte = iter.oldSpte;
    if (iter.level === 2 && isShadowPresentPte(spte) && !isLargePte(spte)) {
      tables.push((spteToPfn(vm.tdp.format, spte) * 4096) as Address);
    }
  }
  return tables;
}

/** Sets A in the given share of the leaves, evenly but not in step with the tables. */
export function setYoung(vm: LinearVm, cpu: Cpu, tables: readonly Address[], share: number): void {
  const accessed = vm.tdp.format.shadowAccessedMask;
  let credit = 0;
  for (const table of tables) {
    for (let index = 0; index < 512; index++) {
      credit += share;
      const word = offset(table, index * 8);
      const spte = cpu.readOnce(word) as Spte;
      const young = credit >= 1;
      if (young) credit -= 1;
      cpu.writeOnce(word, BigInt.asUintN(64, young ? spte | accessed : spte & ~accessed));
    }
  }
}

/** Nanoseconds per leaf: the median of `ROUNDS` scans, each over freshly set bits. */
function scanNs(vm: LinearVm, tables: readonly Address[], share: number, scan: () => void): number {
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    setYoung(vm, vm.cpu, tables, share);
    rounds.push(timeNs(scan) / LEAVES);
  }
  return medianOf(rounds);
}

/** Baseline: the native loop over the same words and nothing else. */
function bareScan(vm: LinearVm, tables: readonly Address[]): void {
  const { atomics64 } = vm.machine.arena;
  const young = 0x800n | vm.tdp.format.shadowAccessedMask;
  for (const table of tables) {
    atomics64.clearBitsWhereCmpxchg(table, 512, young, young, vm.tdp.format.shadowAccessedMask);
  }
}

function rowsOf(name: string, leafScan: LeafScan, aim: readonly string[]): BenchRow[] {
  const vm = populatedVm(leafScan);
  const tables = leafTables(vm);
  const range = vm.wholeRange;
  return YOUNG_SHARES.map((share, index) => {
    const bare = scanNs(vm, tables, share, () => bareScan(vm, tables));
    const scan = scanNs(vm, tables, share, () => kvmTdpMmuAgeGfnRange(vm.tdp, vm.cpu, range));
    return {
      name: `${name}, ${share * 100} % young`,
      figure: `${nanoseconds(scan)} per SPTE`,
      baseline: `bare wasm loop ${nanoseconds(bare)}`,
      ratio: ratio(scan, bare),
      aim: aim[index]!,
    };
  });
}

/** `kvmTdpMmuAgeGfnRange` over 4 Mi leaves, against a bare wasm loop on the same words. */
export function benchAgingScan(): BenchRow[] {
  return [
    ...rowsOf("aging scan, native leaf loop", "native", ["≤ 1.5×", "≤ 1.5×", "≤ 1.5×"]),
    ...rowsOf("aging scan, full iterator", "iterator", ["≤ 10.5×", "≤ 4.5×", "≤ 3×"]),
  ];
}
