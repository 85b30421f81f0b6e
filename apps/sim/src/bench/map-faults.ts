import { KvmPageFault } from "@kvm-age/page-fault";
import { linux73 } from "@kvm-age/spte";
import { kvmTdpMmuPageFault } from "@kvm-age/tdp-mmu";
import { createVm } from "../vm/create-vm.js";
import type { VmConfig } from "../vm/vm-config.js";
import { type BenchRow, perSecond } from "./bench-row.js";
import { LinearVm } from "./linear-vm.js";
import { medianOf, timeNs } from "./timing.js";

const FAULTS = 1 << 18;
const ROUNDS = 5;
const WRITE = 2;

/** Nanoseconds for `FAULTS` first-touch faults of one thread, KVM's part alone. */
function kvmFaultsNs(): number {
  const vm = new LinearVm({ guestPages: FAULTS, arenaBytes: 32 << 20, ruleSet: linux73, leafScan: "native" });
  return timeNs(() => {
    for (let page = 0; page < FAULTS; page++) {
      const fault = new KvmPageFault(vm.gpaOf(page), WRITE, false);
      kvmTdpMmuPageFault(vm.tdp, vm.cpu, vm.vcpu, vm.host, fault);
    }
  });
}

/** A VM on a host of its own, for one thread. */
export function benchConfig(guestPages: number): VmConfig {
  return {
    vcpus: 1,
    policy: "lockless",
    mmu: "tdp",
    mmuMode: "ept",
    adBits: true,
    ruleSet: "linux-7.3",
    seed: 1,
    lockdep: false,
    sanitizer: false,
    guestPages,
    hugePages: false,
    hostPages: guestPages + 4096,
    memoryLimitPages: guestPages + 4096,
    swapSlots: 0,
    contents: false,
    recordAccesses: false,
  };
}

/** The same with the hardware's walk and the host's first-touch fault: what a guest pays for a new page. */
function guestFaultsNs(): number {
  const { vm, cpu } = createVm(benchConfig(FAULTS));
  const vcpu = vm.vcpu(0).hardware;
  return timeNs(() => {
    for (let page = 0; page < FAULTS; page++) vcpu.access(cpu, vm.gpaOf(page), "write");
  });
}

function medianNs(measure: () => number): number {
  return medianOf(Array.from({ length: ROUNDS }, measure));
}

/** Map faults of one thread, with and without the host's part. */
export function benchMapFaults(): BenchRow[] {
  const kvm = medianNs(kvmFaultsNs);
  const guest = medianNs(guestFaultsNs);
  return [
    {
      name: "map faults, one thread, KVM's part",
      figure: perSecond(FAULTS, kvm),
      baseline: `${(kvm / FAULTS).toFixed(0)} ns each`,
      ratio: "",
      aim: "≥ 0.5 M/s",
    },
    {
      name: "first-touch faults, with walk and host",
      figure: perSecond(FAULTS, guest),
      baseline: `${(guest / FAULTS).toFixed(0)} ns each`,
      ratio: "",
      aim: "",
    },
  ];
}
