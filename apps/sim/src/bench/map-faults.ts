import { KvmPageFault } from "@kvm-age/page-fault";
import { linux73 } from "@kvm-age/spte";
import { kvmTdpMmuPageFault } from "@kvm-age/tdp-mmu";
import { createVm } from "../vm/create-vm.js";
import { benchConfig } from "./bench-config.js";
import { type BenchRow, nanoseconds, perSecond, ratio } from "./bench-row.js";
import { LinearVm } from "./linear-vm.js";
import { PTE_PREFETCH_NUM, ShadowVm, type ShadowVmInit } from "./shadow-vm.js";
import { leastOf, timeNs } from "./timing.js";

const PAGES_PER_ROUND = 1 << 16;
const ROUNDS = 9;
const PAGES = PAGES_PER_ROUND * ROUNDS;
const WRITE = 2;
const ARENA_BYTES = 48 << 20;

/** Nanoseconds per page: the least of `ROUNDS` stretches of the guest, of which every page or every eighth is touched. */
function pageNs(step: number, touch: (page: number) => void): number {
  const rounds = Array.from({ length: ROUNDS }, (_, round) => {
    const first = round * PAGES_PER_ROUND;
    return timeNs(() => {
      for (let page = first; page < first + PAGES_PER_ROUND; page += step) touch(page);
    });
  });
  return leastOf(rounds) / PAGES_PER_ROUND;
}

/** Nanoseconds of a fault that maps a page, the TDP MMU's part alone. */
export function tdpFaultNs(): number {
  const vm = new LinearVm({
    guestPages: PAGES,
    arenaBytes: ARENA_BYTES,
    ruleSet: linux73,
    leafScan: "native",
  });
  return pageNs(1, (page) => {
    const fault = new KvmPageFault(vm.gpaOf(page), WRITE, false);
    kvmTdpMmuPageFault(vm.tdp, vm.cpu, vm.vcpu, vm.host, fault);
  });
}

/** The same with the hardware's walk and the host's first-touch fault: what a guest pays for a new page. */
export function guestFaultNs(): number {
  const { vm, cpu } = createVm(benchConfig(PAGES));
  const vcpu = vm.vcpu(0).hardware;
  return pageNs(1, (page) => vcpu.access(cpu, vm.gpaOf(page), "write"));
}

/** Nanoseconds of a fault that maps its page alone, the shadow MMU's part. A guest's own entries are used for the first time. */
export function shadowFaultNs(mmu: ShadowVmInit["mmu"]): number {
  const vm = new ShadowVm({ mmu, guestPages: PAGES, arenaBytes: ARENA_BYTES });
  return pageNs(1, (page) => vm.fault(page));
}

/** Nanoseconds per page of faults that map eight. A guest's own entries have been used before. */
export function shadowPrefetchNs(mmu: ShadowVmInit["mmu"]): number {
  const vm = new ShadowVm({ mmu, guestPages: PAGES, arenaBytes: ARENA_BYTES, used: true });
  vm.host.prefetchable = true;
  return pageNs(PTE_PREFETCH_NUM, (page) => vm.fault(page));
}

/** What `tdpFaultNs` and `guestFaultNs` measured. */
export function tdpFaultRows(tdp: number, guest: number): BenchRow[] {
  const row = (name: string, ns: number, aim: string): BenchRow => ({
    name,
    figure: perSecond(1, ns),
    baseline: `${nanoseconds(ns)} each`,
    ratio: "",
    aim,
  });
  return [
    row("map faults, one thread, KVM's part", tdp, "≥ 0.5 M/s"),
    row("first-touch faults, with walk and host", guest, ""),
  ];
}

/** What `shadowFaultNs` and `shadowPrefetchNs` measured for one kind of guest, against `tdpFaultNs`. */
export function shadowFaultRows(name: string, tdp: number, first: number, prefetch: number): BenchRow[] {
  const row = (what: string, ns: number): BenchRow => ({
    name: `shadow map faults, ${name}${what}`,
    figure: `${perSecond(1, ns)} (${nanoseconds(ns)})`,
    baseline: `TDP MMU ${nanoseconds(tdp)}`,
    ratio: ratio(ns, tdp),
    aim: "",
  });
  return [row("", first), row(", pages with prefetch", prefetch)];
}
