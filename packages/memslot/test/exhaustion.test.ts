import { describe, expect, it } from "vitest";
import {
  checkMemslotInvariants,
  KVM_MEM_LOG_DIRTY_PAGES,
  KvmMmuNotifier,
  type KvmUserspaceMemoryRegion,
  kvmShadowRootAllocated,
  MemslotError,
  type MemslotsInit,
  mmuFirstShadowRootAlloc,
  slotRmapArray,
} from "../src/index.js";
import { BUFFER, createVm, gfn, hva, type TestVm } from "./support/vm.js";

/** A VM on a small machine whose free memory is one span, so that `exhaust` can take any part of it. */
function smallVm(init: Partial<MemslotsInit> = {}): TestVm {
  const vm = createVm(init, 4 << 20);
  exhaust(vm, 0)();
  return vm;
}

/** Takes all memory of the machine but `frames` at its end; returns how to give it back. */
function exhaust(vm: TestVm, frames: number): () => void {
  const { frames: allocator } = vm.machine;
  const taken = allocator.allocateSpan(vm.cpu, (allocator.availableFrames(vm.cpu) - frames) * 4096);
  return () => allocator.freeSpan(vm.cpu, taken);
}

const BIG: Partial<KvmUserspaceMemoryRegion> = {
  flags: KVM_MEM_LOG_DIRTY_PAGES,
  memorySize: 2 ** 30,
};

function state(vm: TestVm): unknown {
  expect(checkMemslotInvariants(vm.memslots, vm.cpu)).toEqual([]);
  expect(vm.held()).toEqual([]);
  return {
    slot: vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x100)),
    pages: vm.memslots.nrMemslotPages(vm.cpu),
    logging: vm.memslots.nrMemslotsDirtyLogging(vm.cpu),
  };
}

/** Refused for want of memory with every number of free frames below what it needs, and nothing is lost. */
function expectEnomemUntilItFits(vm: TestVm, request: Partial<KvmUserspaceMemoryRegion>): number {
  const before = state(vm);
  for (let frames = 0; frames < 64; frames++) {
    const giveBack = exhaust(vm, frames);
    const available = vm.machine.frames.availableFrames(vm.cpu);
    let failed = false;
    try {
      vm.set(request);
    } catch (error) {
      failed = true;
      expect(error).toBeInstanceOf(MemslotError);
      expect((error as MemslotError).errno).toBe("ENOMEM");
      expect(state(vm)).toEqual(before);
      // Slabs keep a frame they have once taken.
      expect(available - vm.machine.frames.availableFrames(vm.cpu)).toBeLessThanOrEqual(2);
    }
    giveBack();
    if (!failed) return frames;
  }
  throw new Error("never succeeded");
}

describe("ENOMEM", () => {
  it("of a create leaves no slot", () => {
    const vm = smallVm();
    expect(expectEnomemUntilItFits(vm, BIG)).toBeGreaterThan(16);
    expect(vm.memslots.nrMemslotPages(vm.cpu)).toBe(2n ** 18n);
  });

  it("of a create with rmaps leaves no slot", () => {
    const vm = smallVm({ tdpMmuEnabled: false, tdpEnabled: false });
    const request = { memorySize: 2 ** 24 };
    expect(expectEnomemUntilItFits(vm, request)).toBeGreaterThan(8);
  });

  it("of a move restores the slot", () => {
    const vm = smallVm();
    vm.set({ ...BIG, memorySize: 2 ** 33 });
    expect(
      expectEnomemUntilItFits(vm, { ...BIG, memorySize: 2 ** 33, guestPhysAddr: 2 ** 34 }),
    ).toBeGreaterThan(2);
    expect(vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(2 ** 22))).not.toBe(0);
  });

  it("of logging leaves the slot unlogged", () => {
    const vm = smallVm();
    vm.set({ ...BIG, flags: 0 });
    expect(expectEnomemUntilItFits(vm, BIG)).toBeGreaterThan(8);
    expect(vm.memslots.nrMemslotsDirtyLogging(vm.cpu)).toBe(1);
  });

  it("of a delete keeps the slot, also for notifiers", () => {
    const vm = smallVm();
    // Fill the slot slab's only frame, so that the INVALID copy needs another.
    let id = 0;
    const perFrame = vm.memslots.slotSlab.objectsPerFrame;
    for (; id < perFrame; id++) vm.set({ slot: id, guestPhysAddr: 0x100000 + id * 0x10000 });
    const giveBack = exhaust(vm, 0);
    const before = state(vm);
    expect(() => vm.set({ memorySize: 0 })).toThrow(/^ENOMEM: slot structure/);
    expect(state(vm)).toEqual(before);
    vm.mmu.ranges.length = 0;
    new KvmMmuNotifier(vm.memslots, vm.mmu).clearYoung(vm.cpu, hva(BUFFER), hva(BUFFER + 1));
    expect(vm.mmu.ranges).toHaveLength(perFrame);
    giveBack();
    vm.set({ memorySize: 0 });
    expect(checkMemslotInvariants(vm.memslots, vm.cpu)).toEqual([]);
  });

  it("of the first shadow root keeps what was made and goes on later", () => {
    const vm = smallVm();
    vm.set({ memorySize: 2 ** 20 });
    vm.set({ slot: 1, guestPhysAddr: 2 ** 30, memorySize: 2 ** 26 });
    const giveBack = exhaust(vm, 6);
    expect(() => mmuFirstShadowRootAlloc(vm.memslots, vm.cpu)).toThrow(
      /^ENOMEM: slot metadata for the first shadow root/,
    );
    expect(kvmShadowRootAllocated(vm.memslots, vm.cpu)).toBe(false);
    expect(vm.held()).toEqual([]);
    const first = slotRmapArray(vm.cpu, vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x100)), 1);
    expect(first).not.toBe(0);
    giveBack();
    mmuFirstShadowRootAlloc(vm.memslots, vm.cpu);
    expect(slotRmapArray(vm.cpu, vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x100)), 1)).toBe(first);
    expect(checkMemslotInvariants(vm.memslots, vm.cpu)).toEqual([]);
  });
});
