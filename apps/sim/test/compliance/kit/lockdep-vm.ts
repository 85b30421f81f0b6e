import { type LockdepCpu, withLockdep } from "@kvm-age/machine";
import { KVM_FILTER_SHARED, type KvmGfnRange, slotBaseGfn, slotNpages } from "@kvm-age/memslot";
import type { Gfn } from "@kvm-age/spte";
import { kvmLockGraph } from "../../../src/compliance/kvm-lock-order.js";
import { createVm } from "../../../src/vm/create-vm.js";
import type { VmConfig } from "../../../src/vm/vm-config.js";

export const PAGES = 64;

const CONFIG: VmConfig = {
  vcpus: 1,
  policy: "lockless",
  mmu: "tdp+nested",
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
};

/** A VM of both MMUs whose nested guest has touched a page, so that there are roots and lists. */
export function lockdepVm(policy: VmConfig["policy"] = "lockless") {
  let cpu!: LockdepCpu;
  const { vm } = createVm({ ...CONFIG, policy }, (inner) => {
    cpu = withLockdep(kvmLockGraph())(inner);
    return cpu;
  });
  const vcpu = vm.vcpu(0);
  vcpu.hardware.access(cpu, vm.gpaOf(0), "write");
  vcpu.exitL2(cpu);
  vcpu.hardware.access(cpu, vm.gpaOf(1), "write");
  vcpu.hardware.exitGuest(cpu);
  cpu.lockdep.assertNothingHeld();
  const slot = vm.memslots.gfnToMemslot(cpu, 0, vm.handle.baseGfn);
  const start = slotBaseGfn(cpu, slot);
  const range: KvmGfnRange = {
    slot,
    start,
    end: (start + slotNpages(cpu, slot)) as Gfn,
    mayBlock: false,
    lockless: true,
    attrFilter: KVM_FILTER_SHARED,
  };
  const { memslots } = vm;
  return { vm, memslots, cpu, slot, range, tdp: vm.tdp!, shadow: vm.shadow!, locks: vm.memslots.locks };
}
