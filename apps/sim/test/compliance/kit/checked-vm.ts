import { type Cpu, withLockdep } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import { kvmLockGraph } from "../../../src/compliance/kvm-lock-order.js";
import { withComplianceWatch } from "../../../src/compliance/watch/with-compliance-watch.js";
import { createVm } from "../../../src/vm/create-vm.js";
import type { Vm } from "../../../src/vm/vm.js";
import type { VmConfig } from "../../../src/vm/vm-config.js";

export const PAGES = 64;

const CONFIG: VmConfig = {
  vcpus: 2,
  policy: "lockless",
  mmu: "tdp",
  mmuMode: "ept",
  adBits: true,
  ruleSet: "linux-7.3",
  seed: 0,
  lockdep: true,
  sanitizer: false,
  guestPages: PAGES,
  hugePages: false,
  hostPages: PAGES + 256,
  memoryLimitPages: PAGES + 256,
  swapSlots: 0,
  contents: false,
  recordAccesses: false,
  complianceWatch: true,
};

/** A VM on this thread whose writes are watched. `raw` is the same processor without the watch, for planting what must be found. */
export function checkedVm(change: Partial<VmConfig> = {}): { vm: Vm; cpu: Cpu; raw: Cpu } {
  const created = createVm({ ...CONFIG, ...change }, withLockdep(kvmLockGraph()));
  const { vm, cpu: raw } = created;
  return { vm, raw, cpu: withComplianceWatch(created.machine, vm.handle)(raw) };
}

/** Has a vCPU write to a run of test pages, and leave the guest. */
export function touchPages(vm: Vm, cpu: Cpu, vcpu: number, pages: number): void {
  const { hardware } = vm.vcpu(vcpu);
  for (let page = 0; page < pages; page++) hardware.access(cpu, vm.gpaOf(page), "write");
  hardware.exitGuest(cpu);
}

/** Host address of the guest's entry of level 1 for a test page, in tables whose root is the area's first page. */
export function guestEntryHva(vm: Vm, entryGpa: number): Hva {
  const { gpa, hva } = vm.handle.guestTables!;
  return (hva + (entryGpa - gpa)) as Hva;
}
