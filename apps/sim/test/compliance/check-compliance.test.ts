import { type Cpu, memberRequestsWord } from "@kvm-age/machine";
import { kvmMmuInvalidateStart, kvmSetMemoryRegion } from "@kvm-age/memslot";
import { describe, expect, it } from "vitest";
import { checkCompliance } from "../../src/compliance/check-compliance.js";
import type { InvariantId } from "../../src/compliance/invariant.js";
import { INVARIANTS } from "../../src/compliance/invariants.js";
import { guestTablesOf } from "../../src/vm/boot-guest.js";
import { MMUS } from "../../src/vm/mmu-shape.js";
import type { Vm } from "../../src/vm/vm.js";
import { checkedVm, guestEntryHva, touchPages } from "./kit/checked-vm.js";
import { firstLeaf, rootOf } from "./kit/first-leaf.js";

function broken(vm: Vm, cpu: Cpu, guestsFlushed = false): InvariantId[] {
  return checkCompliance(vm, cpu, { guestsFlushed }).violations.flatMap(({ invariants }) => invariants);
}

describe.each(MMUS)("the kit at rest, %s", (mmu) => {
  it("finds nothing wrong with a VM that works, before and after its guests flush", () => {
    const { vm, cpu } = checkedVm({ mmu });
    touchPages(vm, cpu, 0, 32);
    touchPages(vm, cpu, 1, 16);
    expect(checkCompliance(vm, cpu, { guestsFlushed: true }).violations).toEqual([]);
  });

  it("finds a leaf that leads to another page than the host's", () => {
    const { vm, cpu, raw } = checkedVm({ mmu });
    touchPages(vm, cpu, 0, 8);
    // In the nested VM, a leaf of L1's.
    if (mmu === "tdp+nested") vm.vcpu(0).exitL2(cpu);
    touchPages(vm, cpu, 0, 8);
    const sptep = firstLeaf(raw, vm, rootOf(raw, vm));
    raw.writeOnce(sptep, raw.readOnce(sptep) ^ 0x1000n);
    expect(broken(vm, raw)).toContain("locking-6");
  });

  it("finds a page that the host took away while the TLB kept it, unless the vCPU will flush", () => {
    const { vm, cpu, raw } = checkedVm({ mmu });
    touchPages(vm, cpu, 0, 8);
    vm.hostMm.madviseDontneed(cpu, vm.hvaOf(3), 4096);
    expect(checkCompliance(vm, raw).violations).toEqual([]);
    const { member } = vm.handle.vcpus[0]!.hardware;
    raw.writeOnce32(memberRequestsWord(vm.handle.flushDomain, member), 0);
    expect(broken(vm, raw)).toContain("shadow-13");
  });

  it("finds an invalidation that was never ended", () => {
    const { vm, cpu, raw } = checkedVm({ mmu });
    raw.writeLock(vm.memslots.locks.mmuLock);
    kvmMmuInvalidateStart(vm.memslots, raw);
    raw.writeUnlock(vm.memslots.locks.mmuLock);
    expect(broken(vm, cpu)).toContain("locking-4");
  });
});

describe("the kit, guest tables", () => {
  it("finds a shadowed table that the TDP MMU lets the guest write to", () => {
    const { vm, cpu, raw } = checkedVm({ mmu: "tdp+nested" });
    touchPages(vm, cpu, 0, 4);
    const vcpu = vm.vcpu(0);
    vcpu.exitL2(cpu);
    const { gpa } = vm.handle.guestTables!;
    // L1 reads its root table, which is shadowed, so the TDP MMU maps it read-only.
    vcpu.hardware.access(cpu, gpa, "read");
    vcpu.hardware.exitGuest(cpu);
    expect(checkCompliance(vm, raw).violations).toEqual([]);
    const sptep = firstLeaf(raw, vm, rootOf(raw, vm));
    const { shadowHostWritableMask, shadowMmuWritableMask } = vm.tdp!.format;
    raw.writeOnce(sptep, raw.readOnce(sptep) | 2n | shadowHostWritableMask | shadowMmuWritableMask);
    expect(broken(vm, raw)).toContain("shadow-3");
  });

  it("finds a translation that the guest's own tables do not give, once the guest has flushed", () => {
    const { vm, cpu, raw } = checkedVm({ mmu: "shadow" });
    touchPages(vm, cpu, 0, 4);
    const entry = guestTablesOf(vm).entryGpa(raw, vm.gpaOf(2), 1);
    // Behind KVM's back: nobody has told it.
    vm.hostMm.storeUser(raw, guestEntryHva(vm, entry), 8, 0n, false);
    expect(broken(vm, raw)).not.toContain("shadow-15");
    expect(broken(vm, raw, true)).toContain("shadow-15");
  });
});

describe("memory that goes", () => {
  // Found by torture: the first shadow root of the VM was made between a slot's INVALID copy and its flush.
  it("a slot is deleted while the VM's first shadow root is made", () => {
    const { vm, cpu, raw } = checkedVm({ mmu: "tdp+nested", tuning: { slotZapAll: false } });
    const flush = vm.kvm.flushShadowMemslot.bind(vm.kvm);
    vm.kvm.flushShadowMemslot = (flushing, slot) => {
      const vcpu = vm.vcpu(0);
      vcpu.hardware.access(cpu, vm.gpaOf(0), "read");
      vcpu.hardware.exitGuest(cpu);
      flush(flushing, slot);
    };
    const { handle } = vm;
    // Another slot than the one accessed, whose fault would wait for the deletion.
    const spare = { slot: 9, flags: 0, guestPhysAddr: 0x4000_0000, userspaceAddr: handle.baseHva };
    kvmSetMemoryRegion(vm.memslots, cpu, vm.kvm, { ...spare, memorySize: 16 * 4096 });
    kvmSetMemoryRegion(vm.memslots, cpu, vm.kvm, { ...spare, memorySize: 0 });
    expect(checkCompliance(vm, raw).violations).toEqual([]);
  });

  it("L2 under another root does not use what was cached under the first", () => {
    const { vm, cpu } = checkedVm({ mmu: "tdp+nested", spareGuestTablePages: 8 });
    const { guestTables, config } = vm.handle;
    const vcpu = vm.vcpu(0);
    touchPages(vm, cpu, 0, 2);
    // A second root, all empty: the last spare page.
    const empty = guestTables!.gpa + (guestTables!.pages - 1) * 4096;
    expect(config.spareGuestTablePages).toBe(8);
    vcpu.exitL2(cpu);
    vcpu.enterL2(cpu, empty);
    expect(vcpu.hardware.access(cpu, vm.gpaOf(0), "read")).toBeLessThan(0);
    expect(vcpu.takeNestedFault()).toBe(true);
    vcpu.exitL2(cpu);
    vcpu.enterL2(cpu, guestTables!.gpa);
    expect(vcpu.hardware.access(cpu, vm.gpaOf(0), "read")).toBeGreaterThanOrEqual(0);
    vcpu.exitL2(cpu);
    vcpu.enterL2(cpu, empty);
    expect(vcpu.hardware.access(cpu, vm.gpaOf(0), "read")).toBeLessThan(0);
  });
});

it("every invariant of the reference has an enforcer, and a number of its own", () => {
  expect(INVARIANTS.length).toBe(10 + 15 + 12);
  expect(new Set(INVARIANTS.map(({ id }) => id)).size).toBe(INVARIANTS.length);
  const { vm, cpu } = checkedVm();
  const { checked } = checkCompliance(vm, cpu, { guestsFlushed: true });
  const atRest = INVARIANTS.filter(({ enforcers }) => enforcers.includes("rest")).map(({ id }) => id);
  expect([...checked].sort()).toEqual([...atRest].sort());
});
