import { KvmPageFault } from "@kvm-age/page-fault";
import { linux73 } from "@kvm-age/spte";
import { kvmTdpMmuPageFault } from "@kvm-age/tdp-mmu";
import { createVm } from "../vm/create-vm.js";
import type { BenchRow } from "./bench-row.js";
import { LinearVm } from "./linear-vm.js";
import { benchConfig } from "./map-faults.js";

const PAGES = 1 << 18;

/** Arena bytes that KVM takes for each mapped guest page: tables, descriptors, slot metadata. */
function kvmBytesPerPage(): number {
  const vm = new LinearVm({ guestPages: PAGES, arenaBytes: 32 << 20, ruleSet: linux73, leafScan: "native" });
  for (let page = 0; page < PAGES; page++) {
    kvmTdpMmuPageFault(vm.tdp, vm.cpu, vm.vcpu, vm.host, new KvmPageFault(vm.gpaOf(page), 2, false));
  }
  return (vm.machine.frames.allocatedFrames(vm.cpu) * 4096) / PAGES;
}

/** The same with the host's page tables and page records. */
function allBytesPerPage(): number {
  const { machine, vm, cpu } = createVm(benchConfig(PAGES));
  const vcpu = vm.vcpu(0).hardware;
  for (let page = 0; page < PAGES; page++) vcpu.access(cpu, vm.gpaOf(page), "write");
  return (machine.frames.allocatedFrames(cpu) * 4096) / PAGES;
}

/** Arena bytes for each guest page of a populated 1 GiB guest. */
export function benchMemory(): BenchRow[] {
  const bare = "one SPTE 8 bytes";
  const row = (name: string, bytes: number, aim: string): BenchRow => ({
    name,
    figure: `${bytes.toFixed(2)} bytes`,
    baseline: bare,
    ratio: `${(bytes / 8).toFixed(2)}×`,
    aim,
  });
  return [
    row("arena bytes per guest page, TDP MMU and slots", kvmBytesPerPage(), "≤ 10"),
    row("arena bytes per guest page, host included", allBytesPerPage(), ""),
  ];
}
