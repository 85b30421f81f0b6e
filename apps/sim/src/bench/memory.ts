import { FRAME_BYTES } from "@kvm-age/machine";
import { RMAP_HEAD_BYTES, slotRmapHeads } from "@kvm-age/memslot";
import { KvmPageFault } from "@kvm-age/page-fault";
import { KVM_MAX_HUGEPAGE_LEVEL, linux73, PG_LEVEL_4K, type PgLevel } from "@kvm-age/spte";
import { kvmTdpMmuPageFault } from "@kvm-age/tdp-mmu";
import { createVm } from "../vm/create-vm.js";
import { benchConfig } from "./bench-config.js";
import type { BenchRow } from "./bench-row.js";
import { LinearVm } from "./linear-vm.js";
import { PTE_PREFETCH_NUM, ShadowVm, type ShadowVmInit } from "./shadow-vm.js";

const PAGES = 1 << 18;

function perPage(frames: number): number {
  return (frames * FRAME_BYTES) / PAGES;
}

function row(name: string, bytes: number, parts: string, aim: string): BenchRow {
  return {
    name: `arena bytes per guest page, ${name}`,
    figure: `${bytes.toFixed(2)} bytes`,
    baseline: parts,
    ratio: `${(bytes / 8).toFixed(2)}×`,
    aim,
  };
}

/** Arena bytes that KVM takes for each page of a populated 1 GiB guest with the TDP MMU: tables, descriptors, slot metadata. */
function tdpBytesPerPage(): number {
  const vm = new LinearVm({ guestPages: PAGES, arenaBytes: 32 << 20, ruleSet: linux73, leafScan: "native" });
  for (let page = 0; page < PAGES; page++) {
    kvmTdpMmuPageFault(vm.tdp, vm.cpu, vm.vcpu, vm.host, new KvmPageFault(vm.gpaOf(page), 2, false));
  }
  return perPage(vm.machine.frames.allocatedFrames(vm.cpu));
}

/** The same with the host's page tables and page records. */
function allBytesPerPage(): number {
  const { machine, vm, cpu } = createVm(benchConfig(PAGES));
  const vcpu = vm.vcpu(0).hardware;
  for (let page = 0; page < PAGES; page++) vcpu.access(cpu, vm.gpaOf(page), "write");
  return perPage(machine.frames.allocatedFrames(cpu));
}

/** Arena bytes of the TDP MMU for each page, which it maps for L1. */
function mapForL1(vm: ShadowVm): number {
  const before = vm.machine.frames.allocatedFrames(vm.cpu);
  for (let page = 0; page < PAGES; page++) vm.tdpFault(page);
  return perPage(vm.machine.frames.allocatedFrames(vm.cpu) - before);
}

function rmapBytesPerPage(vm: ShadowVm): number {
  let heads = 0;
  for (let level: number = PG_LEVEL_4K; level <= KVM_MAX_HUGEPAGE_LEVEL; level++) {
    heads += slotRmapHeads(vm.cpu, vm.wholeRange.slot, level as PgLevel);
  }
  return (heads * RMAP_HEAD_BYTES) / PAGES;
}

/** A guest under the shadow MMU, every page mapped once by each MMU that maps it, and what the bytes are for. */
function shadowRow(mmu: ShadowVmInit["mmu"], aim: string): BenchRow {
  const vm = new ShadowVm({ mmu, guestPages: PAGES, arenaBytes: 64 << 20, used: true });
  const tdp = mmu === "tdp+nested" ? mapForL1(vm) : 0;
  vm.host.prefetchable = true;
  for (let page = 0; page < PAGES; page += PTE_PREFETCH_NUM) vm.fault(page);
  const tables = vm.cpu.readOnce32(vm.shadow.nUsedMmuPagesWord);
  const parts = [
    ["tables", perPage(tables)],
    ["rmap", rmapBytesPerPage(vm)],
    // Every table of a guest's own but the root records what its entries map.
    ["gfn", mmu === "direct" ? 0 : perPage(tables - 1)],
    ["TDP", tdp],
  ] as const;
  const text = parts.filter(([, bytes]) => bytes > 0).map(([name, bytes]) => `${name} ${bytes.toFixed(2)}`);
  const bytes = perPage(vm.machine.frames.allocatedFrames(vm.cpu) - vm.tablePages);
  return row(`--mmu ${mmu}`, bytes, text.join(" + "), aim);
}

/** Arena bytes for each guest page of a populated 1 GiB guest, by what maps it. */
export function benchMemory(): BenchRow[] {
  return [
    row("--mmu tdp", tdpBytesPerPage(), "one SPTE 8 bytes", "≤ 10"),
    row("--mmu tdp, host included", allBytesPerPage(), "one SPTE 8 bytes", ""),
    shadowRow("direct", ""),
    shadowRow("shadow", ""),
    shadowRow("tdp+nested", "≤ 24"),
  ];
}
