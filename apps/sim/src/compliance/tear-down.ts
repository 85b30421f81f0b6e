import { type Cpu, FrameState } from "@kvm-age/machine";
import {
  kvmForEachMemslot,
  kvmFreeMemslots,
  kvmSetMemoryRegion,
  type Slot,
  slotBaseGfn,
  slotId,
  slotUserspaceAddr,
} from "@kvm-age/memslot";
import { destroyShadowMmu, destroyShadowMmuVcpu, kvmMmuUnload as unloadShadow } from "@kvm-age/shadow-mmu";
import {
  destroyTdpMmu,
  destroyTdpMmuVcpu,
  KVM_VALID_ROOTS,
  kvmTdpMmuInvalidateRoots,
  kvmTdpMmuZapInvalidatedRoots,
  type TdpMmu,
  kvmMmuUnload as unloadTdp,
} from "@kvm-age/tdp-mmu";
import type { CreatedVm } from "../vm/create-vm.js";
import type { Vm } from "../vm/vm.js";
import type { VmVcpu } from "../vm/vm-vcpu.js";
import { checkCompliance } from "./check-compliance.js";
import { describeViolation } from "./compliance-report.js";

/** Frames in use other than a slab's, which keeps what it once had. */
export function framesInUse({ machine, cpu }: Pick<CreatedVm, "machine" | "cpu">): number {
  const { table } = machine.frames;
  const inUse: number[] = [FrameState.single, FrameState.spanHead, FrameState.spanBody];
  let count = 0;
  for (let frame = 0; frame < table.frameCount; frame++) {
    if (inUse.includes(cpu.readOnce32(table.stateWord(frame)))) count++;
  }
  return count;
}

function deleteSlots(vm: Vm, cpu: Cpu): void {
  const slots: Slot[] = [];
  kvmForEachMemslot(cpu, vm.memslots.kvmMemslots(cpu, 0), (slot) => slots.push(slot));
  const regions = slots.map((slot) => ({
    slot: slotId(cpu, slot),
    flags: 0,
    guestPhysAddr: slotBaseGfn(cpu, slot) * 4096,
    memorySize: 0,
    userspaceAddr: slotUserspaceAddr(cpu, slot),
  }));
  for (const region of regions) kvmSetMemoryRegion(vm.memslots, cpu, vm.kvm, region);
}

function destroyVcpu(vm: Vm, cpu: Cpu, vcpu: VmVcpu): void {
  const { srcu } = vm.memslots.locks;
  const index = cpu.srcuReadLock(srcu);
  if (vm.tdp !== null) unloadTdp(vm.tdp, cpu, vcpu.tdp!);
  if (vm.shadow !== null) unloadShadow(vm.shadow, cpu, vcpu.shadow!);
  cpu.srcuReadUnlock(srcu, index);
  if (vm.tdp !== null) destroyTdpMmuVcpu(vm.tdp, cpu, vcpu.tdp!);
  if (vm.shadow !== null) destroyShadowMmuVcpu(vm.shadow, cpu, vcpu.shadow!);
}

/** `kvm_mmu_uninit_tdp_mmu`: roots live until they are invalidated, even if no vCPU has them. */
function uninitTdpMmu(tdp: TdpMmu, cpu: Cpu): void {
  const { slotsLock } = tdp.memslots.locks;
  cpu.mutexLock(slotsLock);
  cpu.writeLock(tdp.mmuLock);
  kvmTdpMmuInvalidateRoots(tdp, cpu, KVM_VALID_ROOTS);
  cpu.writeUnlock(tdp.mmuLock);
  kvmTdpMmuZapInvalidatedRoots(tdp, cpu, false);
  cpu.mutexUnlock(slotsLock);
  cpu.rcuBarrier();
  destroyTdpMmu(tdp, cpu);
}

/** What the MMUs and the host still have although there is nobody left to have it. */
function leftovers({ tdp, shadow, hostMm }: Vm, cpu: Cpu): string[] {
  const { takenPages, stockedPages, usedSwapSlots } = hostMm.counts(cpu);
  const left: readonly (readonly [number, string])[] = [
    [tdp?.headers.allocatedObjects(cpu) ?? 0, "kvm_mmu_page descriptors of the TDP MMU"],
    [takenPages - stockedPages, "host pages"],
    [usedSwapSlots, "swap slots"],
  ];
  const shadowLeft: readonly (readonly [number, string])[] =
    shadow === null
      ? []
      : [
          [shadow.headers.allocatedObjects(cpu), "kvm_mmu_page descriptors of the shadow MMU"],
          [shadow.rmaps.descriptors.allocatedObjects(cpu), "pte_list_desc objects"],
        ];
  return [...left, ...shadowLeft]
    .filter(([count]) => count !== 0)
    .map(([count, what]) => `${count} ${what} leaked`);
}

/**
 * Takes a VM apart in the kernel's order, its host included, and says what was left behind. Nothing of the VM can be used afterwards.
 *
 * @returns sentences; empty if nothing was left
 */
export function tearDown(created: CreatedVm): string[] {
  const { vm, cpu } = created;
  deleteSlots(vm, cpu);
  const vcpus = vm.handle.vcpus.map((_, index) => vm.vcpu(index));
  for (const vcpu of vcpus) vcpu.hardware.exitGuest(cpu);
  const violations = checkCompliance(vm, cpu).violations.map(describeViolation);
  for (const vcpu of vcpus) destroyVcpu(vm, cpu, vcpu);
  for (const vcpu of vcpus) vcpu.hardware.destroy(cpu);
  vm.hostMm.exitMmap(cpu);
  cpu.rcuBarrier();
  if (vm.tdp !== null) uninitTdpMmu(vm.tdp, cpu);
  if (vm.shadow !== null) destroyShadowMmu(vm.shadow, cpu);
  violations.push(...leftovers(vm, cpu));
  kvmFreeMemslots(vm.memslots, cpu);
  const slots = vm.memslots.slotSlab.allocatedObjects(cpu);
  return slots === 0 ? violations : [...violations, `${slots} memslots leaked`];
}
