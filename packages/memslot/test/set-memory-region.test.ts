import { offset } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import {
  checkMemslotInvariants,
  KVM_MEM_LOG_DIRTY_PAGES,
  KVM_MEM_READONLY,
  type KvmUserspaceMemoryRegion,
  kvmFreeMemslots,
  kvmIsVisibleGfn,
  kvmSetInternalMemslot,
  MemslotError,
  NULL_SLOT,
  slotArgument,
  slotBaseGfn,
  slotDirtyBitmap,
  slotFlags,
  slotId,
  slotIsInvalid,
} from "../src/index.js";
import { MEMSLOTS_NR_PAGES } from "../src/memslots/memslots-layout.js";
import { BUFFER, createVm, gfn, MAX_GFN, region, type TestVm } from "./support/vm.js";

const errnoOf = (action: () => void): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof MemslotError) return `${error.errno}: ${error.reason}`;
    throw error;
  }
  return "ok";
};

function expectIntact(vm: TestVm): void {
  expect(checkMemslotInvariants(vm.memslots, vm.cpu)).toEqual([]);
  expect(vm.held()).toEqual([]);
}

describe("refuses, in the kernel's order", () => {
  // Each request is wrong in the named way and in every later one that it can be, so an earlier check must
  // speak first.
  const late = { memorySize: 0x1000 * 2 ** 31, userspaceAddr: 0, guestPhysAddr: 2 ** 63 };
  const cases: readonly (readonly [string, Partial<KvmUserspaceMemoryRegion>, RegExp])[] = [
    [
      "unknown flag",
      { flags: 4, memorySize: 1, guestPhysAddr: 1, userspaceAddr: 1 },
      /^EINVAL: flags is 0x4, allowed: bits of 0x3/,
    ],
    ["internal flag", { flags: 65536 }, /^EINVAL: flags is 0x10000/],
    [
      "size",
      { memorySize: 0x1001, guestPhysAddr: 1, userspaceAddr: 1, slot: 0x20000 },
      /^EINVAL: memory_size is 0x1001/,
    ],
    ["negative size", { memorySize: -4096 }, /^EINVAL: memory_size is -0x1000/],
    ["gpa", { guestPhysAddr: 0x800, userspaceAddr: 1, slot: 0x20000 }, /^EINVAL: guest_phys_addr is 0x800/],
    [
      "hva alignment",
      { userspaceAddr: BUFFER + 1, slot: 0x20000 },
      /^EINVAL: userspace_addr is 0x7f0000000001/,
    ],
    ["hva beyond user space", { userspaceAddr: 2 ** 47 - 0x10000, slot: 0x20000 }, /^EINVAL: userspace_addr/],
    ["tagged hva", { userspaceAddr: BUFFER + 2 ** 62, slot: 0x20000 }, /^EINVAL: userspace_addr/],
    [
      "address space",
      { ...late, slot: 0x20000 },
      /^EINVAL: address space of the slot is 0x2, allowed: 0 … 1/,
    ],
    [
      "wrap",
      { ...late, guestPhysAddr: 2 ** 64 - 4096, slot: 5 },
      /^EINVAL: guest_phys_addr \+ memory_size is 0x1/,
    ],
    ["pages", { ...late, slot: 5 }, /^EINVAL: number of pages is 0x80000000, allowed: 0 … 0x7fffffff/],
    ["delete of nothing", { memorySize: 0, slot: 5 }, /^EINVAL: memory_size is 0 and slot 5 does not exist/],
    [
      "changed hva",
      { userspaceAddr: 0x1000, guestPhysAddr: 0x200000 },
      /^EINVAL: userspace_addr is 0x1000, allowed for existing slot 0: 0x7f0000000000/,
    ],
    [
      "changed size",
      { memorySize: 0x1000, guestPhysAddr: 0x200000 },
      /^EINVAL: number of pages is 0x1, allowed for existing slot 0: 0x10/,
    ],
    [
      "changed READONLY",
      { flags: KVM_MEM_READONLY },
      /^EINVAL: KVM_MEM_READONLY is 0x2, allowed for existing slot 0: 0x0/,
    ],
    [
      "overlapping create",
      { slot: 2, guestPhysAddr: 0x10f000 },
      /^EEXIST: gfns \[0x10f, 0x11f\) overlap slot 0/,
    ],
    ["overlapping move", { slot: 1, guestPhysAddr: 0x0f8000, memorySize: 0x10000 }, /^EEXIST/],
    [
      "beyond the MMU",
      { slot: 2, guestPhysAddr: MAX_GFN * 4096 },
      /^EINVAL: last gfn is 0x100000000e, allowed: at most 0xfffffffff/,
    ],
  ];

  it.each(cases)("%s", (_name, changes, expected) => {
    const vm = createVm();
    vm.set({});
    vm.set({ slot: 1, guestPhysAddr: 0x800000 });
    const before = vm.memslots.generation(vm.cpu, 0);
    expect(errnoOf(() => vm.set(changes))).toMatch(expected);
    expect(vm.memslots.generation(vm.cpu, 0)).toBe(before);
    expectIntact(vm);
  });

  it("ids that belong to KVM, before anything else", () => {
    const vm = createVm();
    expect(errnoOf(() => vm.set({ slot: 32764, flags: 4 }))).toBe(
      "EINVAL: slot id is 32764, allowed: 0 … 32763",
    );
    expect(vm.log).toEqual([]);
    vm.set({ slot: 32763 });
    expectIntact(vm);
  });

  it("a delete that the totals do not cover: EIO", () => {
    const vm = createVm();
    vm.set({});
    vm.cpu.writeOnce(offset(vm.memslots.address, MEMSLOTS_NR_PAGES), 15n);
    expect(errnoOf(() => vm.set({ memorySize: 0 }))).toBe(
      "EIO: nr_memslot_pages is 15, must be at least the slot's 16",
    );
  });

  it("a create that wraps the totals: EINVAL before EEXIST", () => {
    const vm = createVm();
    vm.set({});
    vm.cpu.writeOnce(offset(vm.memslots.address, MEMSLOTS_NR_PAGES), 2n ** 64n - 16n);
    expect(errnoOf(() => vm.set({ slot: 1 }))).toMatch(/^EINVAL: number of pages of all slots/);
  });

  it("an overlap before a place beyond the MMU", () => {
    const vm = createVm({ maxGfn: gfn(0x10f) });
    vm.set({});
    expect(errnoOf(() => vm.set({ slot: 1, guestPhysAddr: 0x10f000 }))).toMatch(/^EEXIST/);
    expect(errnoOf(() => vm.set({ slot: 1, guestPhysAddr: 0x110000 }))).toMatch(/^EINVAL: last gfn is 0x11f/);
    expectIntact(vm);
  });

  it("a second address space where there is one", () => {
    const vm = createVm({ nrAddressSpaces: 1 });
    expect(errnoOf(() => vm.set({ slot: slotArgument(1, 0) }))).toMatch(
      /^EINVAL: address space of the slot is 0x1, allowed: 0 … 0/,
    );
    vm.set({});
    expect(vm.memslots.generation(vm.cpu, 0)).toBe(1n);
    expectIntact(vm);
  });

  it("a move to where the MMU cannot map restores the old slot", () => {
    const vm = createVm();
    vm.set({ flags: KVM_MEM_LOG_DIRTY_PAGES });
    const slot = vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x100));
    const bitmap = slotDirtyBitmap(vm.cpu, slot);
    expect(errnoOf(() => vm.set({ flags: KVM_MEM_LOG_DIRTY_PAGES, guestPhysAddr: MAX_GFN * 4096 }))).toMatch(
      /^EINVAL: last gfn/,
    );
    expect(vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x100))).toBe(slot);
    expect(slotDirtyBitmap(vm.cpu, slot)).toBe(bitmap);
    expect(vm.memslots.generation(vm.cpu, 0)).toBe(6n);
    expectIntact(vm);
  });
});

describe("operations", () => {
  it("count generations per address space", () => {
    const vm = createVm();
    const generations = (): bigint[] => [0, 1].map((asId) => vm.memslots.generation(vm.cpu, asId));
    expect(generations()).toEqual([0n, 1n]);
    vm.set({});
    expect(generations()).toEqual([2n, 1n]);
    vm.set({ slot: slotArgument(1, 0) });
    expect(generations()).toEqual([2n, 3n]);
    vm.set({ flags: KVM_MEM_LOG_DIRTY_PAGES });
    expect(generations()).toEqual([4n, 3n]);
    vm.set({ flags: KVM_MEM_LOG_DIRTY_PAGES });
    expect(generations()).toEqual([4n, 3n]);
    vm.set({ flags: KVM_MEM_LOG_DIRTY_PAGES, guestPhysAddr: 0x200000 });
    expect(generations()).toEqual([8n, 3n]);
    vm.set({ memorySize: 0 });
    expect(generations()).toEqual([12n, 3n]);
    expectIntact(vm);
  });

  it("have bit 63 in the generation until the SRCU wait is over", () => {
    const vm = createVm();
    const seen: bigint[] = [];
    vm.mmu.onCall = (name) => {
      if (name === "memslotsUpdated") seen.push(vm.memslots.generation(vm.cpu, 0));
    };
    vm.set({});
    expect(seen).toEqual([2n ** 63n]);
    expect(vm.mmu.calls).toEqual(["memslotsUpdated 2", "changeMmuPages 64"]);
  });

  it("take locks in the kernel's order and wait for SRCU without slots_arch_lock", () => {
    const vm = createVm();
    vm.set({});
    expect(vm.log).toEqual([
      "mutexLock kvm->slots_lock",
      "mutexLock kvm->slots_arch_lock",
      "spinLock kvm->mn_invalidate_lock",
      "spinUnlock kvm->mn_invalidate_lock",
      "mutexUnlock kvm->slots_arch_lock",
      "synchronizeSrcu kvm->srcu",
      "mutexUnlock kvm->slots_lock",
    ]);
  });

  it("delete through an INVALID copy that lookups find", () => {
    const vm = createVm();
    vm.set({});
    const old = vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x100));
    let invalid = NULL_SLOT;
    vm.mmu.onCall = (name, cpu) => {
      if (name !== "flushShadowMemslot") return;
      invalid = vm.memslots.gfnToMemslot(cpu, 0, gfn(0x105));
      expect(invalid).not.toBe(old);
      expect(slotIsInvalid(cpu, invalid)).toBe(true);
      expect(kvmIsVisibleGfn(vm.memslots, cpu, 0, gfn(0x105))).toBe(false);
      expect(vm.held()).toEqual(["kvm->slots_lock:write"]);
    };
    vm.mmu.calls.length = 0;
    vm.set({ memorySize: 0 });
    expect(invalid).not.toBe(NULL_SLOT);
    expect(vm.mmu.calls).toEqual([
      "memslotsUpdated 4",
      "flushShadowMemslot 0:0",
      "memslotsUpdated 6",
      "changeMmuPages 64",
    ]);
    expect(vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x100))).toBe(NULL_SLOT);
    expectIntact(vm);
  });

  it("move a slot with its bitmap", () => {
    const vm = createVm();
    vm.set({ flags: KVM_MEM_LOG_DIRTY_PAGES });
    const bitmap = slotDirtyBitmap(vm.cpu, vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x100)));
    vm.set({ flags: KVM_MEM_LOG_DIRTY_PAGES, guestPhysAddr: 0x108000 });
    expect(vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x107))).toBe(NULL_SLOT);
    const moved = vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x117));
    expect(slotBaseGfn(vm.cpu, moved)).toBe(0x108);
    expect(slotDirtyBitmap(vm.cpu, moved)).toBe(bitmap);
    expect(vm.mmu.calls).not.toContain("enableDirtyLogging 0:0");
    expectIntact(vm);
  });

  it("move a slot and drop logging in one request", () => {
    const vm = createVm();
    vm.set({ flags: KVM_MEM_LOG_DIRTY_PAGES });
    vm.mmu.calls.length = 0;
    vm.set({ guestPhysAddr: 0x200000 });
    expect(vm.mmu.calls).toContain("updateCpuDirtyLogging false");
    expect(vm.mmu.calls).not.toContain("disableDirtyLogging 0:0");
    expect(vm.memslots.nrMemslotsDirtyLogging(vm.cpu)).toBe(0);
    expectIntact(vm);
  });

  it("apply flags: enable flushes, disable recovers, the first and last logging slot switch the log", () => {
    const vm = createVm();
    vm.set({});
    vm.set({ slot: 1, guestPhysAddr: 0x800000 });
    vm.mmu.calls.length = 0;
    vm.set({ flags: KVM_MEM_LOG_DIRTY_PAGES });
    vm.set({ slot: 1, guestPhysAddr: 0x800000, flags: KVM_MEM_LOG_DIRTY_PAGES });
    vm.set({});
    vm.set({ slot: 1, guestPhysAddr: 0x800000 });
    expect(vm.mmu.calls.filter((call) => !call.startsWith("memslotsUpdated"))).toEqual([
      "updateCpuDirtyLogging true",
      "enableDirtyLogging 0:0",
      "flushRemoteTlbsMemslot 0:0",
      "enableDirtyLogging 0:1",
      "flushRemoteTlbsMemslot 0:1",
      "disableDirtyLogging 0:0",
      "updateCpuDirtyLogging false",
      "disableDirtyLogging 0:1",
    ]);
    expectIntact(vm);
  });

  it("leave read-only slots and initially set bitmaps alone when logging starts", () => {
    const readOnly = createVm();
    readOnly.set({ flags: KVM_MEM_READONLY });
    readOnly.set({ flags: KVM_MEM_READONLY | KVM_MEM_LOG_DIRTY_PAGES });
    expect(readOnly.mmu.calls).not.toContain("enableDirtyLogging 0:0");
    const initiallySet = createVm({ dirtyLogManualProtect: true, dirtyLogInitiallySet: true });
    initiallySet.set({});
    initiallySet.set({ flags: KVM_MEM_LOG_DIRTY_PAGES });
    expect(initiallySet.mmu.calls).toContain("updateCpuDirtyLogging true");
    expect(initiallySet.mmu.calls).not.toContain("enableDirtyLogging 0:0");
  });

  it("tell the MMU its quota: a fiftieth of the pages, at least 64", () => {
    const vm = createVm();
    vm.set({ memorySize: 4096 * 50 * 100 });
    vm.set({ memorySize: 0 });
    expect(vm.mmu.calls.filter((call) => call.startsWith("changeMmuPages"))).toEqual([
      "changeMmuPages 100",
      "changeMmuPages 64",
    ]);
  });

  it("make internal slots in both address spaces, invisible to the guest", () => {
    const vm = createVm();
    const { guestPhysAddr, memorySize, userspaceAddr } = region();
    kvmSetInternalMemslot(vm.memslots, vm.cpu, vm.mmu, 32765, { guestPhysAddr, memorySize, userspaceAddr });
    for (const asId of [0, 1]) {
      const slot = vm.memslots.gfnToMemslot(vm.cpu, asId, gfn(0x100));
      expect([slotId(vm.cpu, slot), slotFlags(vm.cpu, slot)]).toEqual([32765, 0]);
      expect(kvmIsVisibleGfn(vm.memslots, vm.cpu, asId, gfn(0x100))).toBe(false);
    }
    expect(errnoOf(() => kvmSetInternalMemslot(vm.memslots, vm.cpu, vm.mmu, 7, region()))).toMatch(
      /^EINVAL: internal slot id is 7, allowed: 32764 … 32766/,
    );
    expectIntact(vm);
  });

  it("free everything with the VM", () => {
    const vm = createVm();
    const spare = vm.machine.frames.allocatedFrames(vm.cpu);
    vm.set({ memorySize: 2 ** 30, flags: KVM_MEM_LOG_DIRTY_PAGES });
    vm.set({ slot: slotArgument(1, 3), memorySize: 2 ** 30 });
    expect(vm.machine.frames.allocatedFrames(vm.cpu)).toBeGreaterThan(spare + 16);
    kvmFreeMemslots(vm.memslots, vm.cpu);
    // Slab frames stay with their slabs: one for slots, at most one for each size of small arrays.
    expect(vm.machine.frames.allocatedFrames(vm.cpu)).toBeLessThanOrEqual(spare + 4);
    expectIntact(vm);
  });
});
