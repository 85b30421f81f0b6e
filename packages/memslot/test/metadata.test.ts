import { type Address, NULL_ADDRESS } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import {
  checkMemslotInvariants,
  gfnWriteTrackCount,
  KVM_LPAGE_MIXED_FLAG,
  KVM_MEM_LOG_DIRTY_PAGES,
  kvmGfnIsWriteTracked,
  kvmMemslotsHaveRmaps,
  kvmMmuGfnAllowLpage,
  kvmMmuGfnDisallowLpage,
  kvmShadowRootAllocated,
  kvmWriteTrackAddGfn,
  kvmWriteTrackingEnabled,
  kvmWriteTrackRemoveGfn,
  lpageInfoDisallowed,
  lpageInfoSlot,
  MetadataCounterError,
  MissingMetadataError,
  mmuFirstShadowRootAlloc,
  NULL_SLOT,
  type Slot,
  slotArgument,
  slotRmapArray,
  slotRmapHead,
  slotRmapHeads,
} from "../src/index.js";
import { slotGfnWriteTrackWord } from "../src/slot/slot.js";
import { createVm, gfn, type TestVm } from "./support/vm.js";

const HUGE = { guestPhysAddr: 0x40000000, memorySize: 0x40000000, userspaceAddr: 0x7f0040000000 };
const at = (vm: TestVm, value: number): Slot => vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(value));

function shadowed(): TestVm {
  const vm = createVm();
  vm.set(HUGE);
  mmuFirstShadowRootAlloc(vm.memslots, vm.cpu);
  const { mmuLock, srcu } = vm.memslots.locks;
  vm.cpu.srcuReadLock(srcu);
  vm.cpu.writeLock(mmuLock);
  return vm;
}

describe("disallow_lpage", () => {
  it("counts on both levels, and leaves the mixed flag alone", () => {
    const vm = createVm();
    vm.set(HUGE);
    const slot = at(vm, 0x40000);
    const word = lpageInfoSlot(vm.cpu, slot, gfn(0x40201), 2);
    vm.cpu.writeOnce32(word, KVM_LPAGE_MIXED_FLAG);
    kvmMmuGfnDisallowLpage(vm.cpu, slot, gfn(0x40201));
    kvmMmuGfnDisallowLpage(vm.cpu, slot, gfn(0x403ff));
    expect(vm.cpu.readOnce32(word)).toBe(KVM_LPAGE_MIXED_FLAG + 2);
    expect([0x401ff, 0x40200, 0x40400].map((g) => lpageInfoDisallowed(vm.cpu, slot, gfn(g), 2))).toEqual([
      false,
      true,
      false,
    ]);
    expect(lpageInfoDisallowed(vm.cpu, slot, gfn(0x7ffff), 3)).toBe(true);
    kvmMmuGfnAllowLpage(vm.cpu, slot, gfn(0x40201));
    kvmMmuGfnAllowLpage(vm.cpu, slot, gfn(0x40201));
    expect(vm.cpu.readOnce32(word)).toBe(KVM_LPAGE_MIXED_FLAG);
    expect(lpageInfoDisallowed(vm.cpu, slot, gfn(0x7ffff), 3)).toBe(false);
    expect(() => kvmMmuGfnAllowLpage(vm.cpu, slot, gfn(0x40201))).toThrow(MetadataCounterError);
  });
});

describe("rmap arrays", () => {
  it("exist from the start without the TDP MMU, one head for each page of each level", () => {
    const vm = createVm({ tdpMmuEnabled: false });
    vm.set({ guestPhysAddr: 0x100003000, memorySize: 0x500000, userspaceAddr: 0x7f0000203000 });
    const slot = at(vm, 0x100003);
    expect([1, 2, 3].map((level) => slotRmapHeads(vm.cpu, slot, level as 1 | 2 | 3))).toEqual([0x500, 3, 1]);
    const base = slotRmapArray(vm.cpu, slot, 1);
    expect(slotRmapHead(vm.cpu, slot, gfn(0x100005), 1)).toBe(base + 16);
    expect(slotRmapHead(vm.cpu, slot, gfn(0x100400), 2)).toBe(slotRmapArray(vm.cpu, slot, 2) + 16);
    expect(checkMemslotInvariants(vm.memslots, vm.cpu)).toEqual([]);
  });

  it("appear in every slot with the first shadow root, and in later slots at once", () => {
    const vm = createVm();
    vm.set(HUGE);
    vm.set({ slot: slotArgument(1, 0) });
    expect([kvmMemslotsHaveRmaps(vm.memslots, vm.cpu), kvmWriteTrackingEnabled(vm.memslots, vm.cpu)]).toEqual(
      [false, false],
    );
    expect(() => slotRmapHead(vm.cpu, at(vm, 0x40000), gfn(0x40000), 1)).toThrow(MissingMetadataError);
    vm.log.length = 0;
    mmuFirstShadowRootAlloc(vm.memslots, vm.cpu);
    expect(vm.log).toEqual(["mutexLock kvm->slots_arch_lock", "mutexUnlock kvm->slots_arch_lock"]);
    const head = slotRmapHead(vm.cpu, at(vm, 0x40000), gfn(0x40000), 1);
    mmuFirstShadowRootAlloc(vm.memslots, vm.cpu);
    expect(slotRmapHead(vm.cpu, at(vm, 0x40000), gfn(0x40000), 1)).toBe(head);
    expect(vm.log).toHaveLength(2);
    vm.set({ slot: 1, guestPhysAddr: 0x100000 });
    expect(slotRmapArray(vm.cpu, at(vm, 0x100), 1)).not.toBe(NULL_ADDRESS);
    expect(
      [kvmShadowRootAllocated, kvmMemslotsHaveRmaps, kvmWriteTrackingEnabled].map((f) =>
        f(vm.memslots, vm.cpu),
      ),
    ).toEqual([true, true, true]);
    expect(checkMemslotInvariants(vm.memslots, vm.cpu)).toEqual([]);
  });

  it("that appear while a slot is INVALID are kept by the slot that comes back", () => {
    const vm = createVm({ maxGfn: gfn(0x10f) });
    vm.set({});
    vm.mmu.onCall = (name) => {
      if (name === "flushShadowMemslot") mmuFirstShadowRootAlloc(vm.memslots, vm.cpu);
    };
    expect(() => vm.set({ guestPhysAddr: 0x101000 })).toThrow(/last gfn/);
    expect(slotRmapArray(vm.cpu, at(vm, 0x100), 1)).not.toBe(NULL_ADDRESS);
    expect(checkMemslotInvariants(vm.memslots, vm.cpu)).toEqual([]);
  });

  it("that appear while a slot is INVALID go away with it", () => {
    const vm = createVm();
    vm.set(HUGE);
    vm.set({ slot: 1, guestPhysAddr: 0x100000 });
    const frames = vm.machine.frames.allocatedFrames(vm.cpu);
    vm.mmu.onCall = (name) => {
      if (name === "flushShadowMemslot") mmuFirstShadowRootAlloc(vm.memslots, vm.cpu);
    };
    vm.set({ ...HUGE, memorySize: 0 });
    expect(vm.machine.frames.allocatedFrames(vm.cpu)).toBeLessThan(frames + 8);
    expect(checkMemslotInvariants(vm.memslots, vm.cpu)).toEqual([]);
  });

  it("move to the new slot when flags change", () => {
    const vm = createVm({ tdpMmuEnabled: false });
    vm.set({});
    const head = slotRmapHead(vm.cpu, at(vm, 0x100), gfn(0x100), 1);
    vm.cpu.writeOnce(head, 0x1234n);
    vm.set({ flags: KVM_MEM_LOG_DIRTY_PAGES });
    expect(slotRmapHead(vm.cpu, at(vm, 0x100), gfn(0x100), 1)).toBe(head);
    expect(vm.cpu.readOnce(head)).toBe(0x1234n);
  });
});

describe("write tracking", () => {
  it("counts per page, two counters to a word, and forbids huge pages", () => {
    const vm = shadowed();
    const slot = at(vm, 0x40000);
    for (let times = 0; times < 3; times++) kvmWriteTrackAddGfn(vm.memslots, vm.cpu, slot, gfn(0x40011));
    kvmWriteTrackAddGfn(vm.memslots, vm.cpu, slot, gfn(0x40010));
    const counts = (): number[] =>
      [0x4000f, 0x40010, 0x40011, 0x40012].map((g) => gfnWriteTrackCount(vm.cpu, slot, gfn(g)));
    expect(counts()).toEqual([0, 1, 3, 0]);
    expect(lpageInfoDisallowed(vm.cpu, slot, gfn(0x40000), 2)).toBe(true);
    kvmWriteTrackRemoveGfn(vm.memslots, vm.cpu, slot, gfn(0x40010));
    expect(counts()).toEqual([0, 0, 3, 0]);
    for (let times = 0; times < 3; times++) kvmWriteTrackRemoveGfn(vm.memslots, vm.cpu, slot, gfn(0x40011));
    expect(lpageInfoDisallowed(vm.cpu, slot, gfn(0x40000), 2)).toBe(false);
    expect(() => kvmWriteTrackRemoveGfn(vm.memslots, vm.cpu, slot, gfn(0x40011))).toThrow(
      /gfn_write_track of gfn 0x40011 would become -1, outside \[0, 65535\]/,
    );
  });

  it("stops at 65535", () => {
    const vm = shadowed();
    const slot = at(vm, 0x40000);
    const counters = vm.cpu.readOnce32(slotGfnWriteTrackWord(slot)) as Address;
    vm.cpu.writeOnce32(counters, 65534);
    kvmWriteTrackAddGfn(vm.memslots, vm.cpu, slot, gfn(0x40000));
    expect(gfnWriteTrackCount(vm.cpu, slot, gfn(0x40000))).toBe(65535);
    expect(() => kvmWriteTrackAddGfn(vm.memslots, vm.cpu, slot, gfn(0x40000))).toThrow(/would become 65536/);
    expect(gfnWriteTrackCount(vm.cpu, slot, gfn(0x40001))).toBe(0);
  });

  it("sees the other address space", () => {
    const vm = createVm();
    vm.set({});
    vm.set({ slot: slotArgument(1, 4) });
    mmuFirstShadowRootAlloc(vm.memslots, vm.cpu);
    const [normal, smm] = [0, 1].map((asId) => vm.memslots.gfnToMemslot(vm.cpu, asId, gfn(0x101)));
    const tracked = (slot: Slot, g: number): boolean =>
      kvmGfnIsWriteTracked(vm.memslots, vm.cpu, slot, gfn(g));
    expect([tracked(normal!, 0x101), tracked(smm!, 0x101)]).toEqual([false, false]);
    vm.cpu.writeLock(vm.memslots.locks.mmuLock);
    vm.cpu.srcuReadLock(vm.memslots.locks.srcu);
    kvmWriteTrackAddGfn(vm.memslots, vm.cpu, smm!, gfn(0x101));
    expect([tracked(normal!, 0x101), tracked(smm!, 0x101), tracked(normal!, 0x102)]).toEqual([
      true,
      true,
      false,
    ]);
    expect(tracked(NULL_SLOT, 0x101)).toBe(false);
  });

  it("is off until a shadow root exists", () => {
    const vm = createVm();
    vm.set({});
    expect(kvmGfnIsWriteTracked(vm.memslots, vm.cpu, at(vm, 0x100), gfn(0x100))).toBe(false);
    vm.cpu.writeLock(vm.memslots.locks.mmuLock);
    expect(() => kvmWriteTrackAddGfn(vm.memslots, vm.cpu, at(vm, 0x100), gfn(0x100))).toThrow(
      /none of the locks/,
    );
    vm.cpu.srcuReadLock(vm.memslots.locks.srcu);
    expect(() => kvmWriteTrackAddGfn(vm.memslots, vm.cpu, at(vm, 0x100), gfn(0x100))).toThrow(
      MissingMetadataError,
    );
  });
});

it("costs a TDP-only VM less than a byte for each guest page", () => {
  const vm = createVm();
  const before = vm.machine.frames.allocatedFrames(vm.cpu);
  vm.set({
    guestPhysAddr: 0,
    memorySize: 2 ** 32,
    userspaceAddr: 0x7f0040000000,
    flags: KVM_MEM_LOG_DIRTY_PAGES,
  });
  const bytes = (vm.machine.frames.allocatedFrames(vm.cpu) - before) * 4096;
  expect(bytes / 2 ** 20).toBeLessThan(0.3);
});
