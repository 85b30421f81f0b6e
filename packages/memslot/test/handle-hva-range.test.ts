import { describe, expect, it } from "vitest";
import {
  type HvaWalkResult,
  KVM_FILTER_SHARED,
  type KvmMmuNotifierRange,
  kvmHandleHvaRange,
  slotArgument,
  slotId,
} from "../src/index.js";
import { BUFFER, createVm, hva, type TestVm } from "./support/vm.js";

const WRITE = "kvm->mmu_lock:write";
const SRCU = "kvm->srcu:read";

function walk(vm: TestVm, changes: Partial<KvmMmuNotifierRange>): HvaWalkResult {
  return kvmHandleHvaRange(vm.memslots, vm.cpu, vm.mmu, {
    start: hva(BUFFER),
    end: hva(BUFFER + 0x1000),
    handler: (cpu, range) => vm.mmu.ageGfn(cpu, range),
    onLock: null,
    flushOnRet: false,
    mayBlock: false,
    lockless: false,
    ...changes,
  });
}

function vmWithSlot(): TestVm {
  const vm = createVm();
  vm.set({});
  vm.log.length = 0;
  vm.mmu.calls.length = 0;
  return vm;
}

describe("refusals", () => {
  const never = (): never => {
    throw new Error("called");
  };
  it.each([
    ["empty-hva-range", { end: hva(BUFFER), handler: never }],
    ["empty-hva-range", { end: hva(BUFFER - 1), handler: null }],
    ["no-handler", { handler: null, lockless: true }],
    ["lockless-on-lock", { handler: never, onLock: never, lockless: true }],
    ["lockless-on-lock", { handler: null, onLock: never, lockless: true }],
  ] as const)("%s", (warning, changes) => {
    const vm = vmWithSlot();
    expect(walk(vm, changes)).toEqual({ ret: false, foundMemslot: false });
    expect(vm.memslots.warningCount(vm.cpu, warning)).toBe(1);
    expect(vm.log).toEqual([]);
  });
});

describe("locks", () => {
  it("are SRCU and mmu_lock for write, from the first slot to the flush", () => {
    const vm = vmWithSlot();
    vm.mmu.young.add("0:256");
    const heldIn: Record<string, string[]> = {};
    vm.mmu.onCall = (name) => {
      heldIn[name] = vm.held();
    };
    const onLock = (): void => {
      heldIn.onLock = vm.held();
    };
    expect(walk(vm, { onLock, flushOnRet: true })).toEqual({ ret: true, foundMemslot: true });
    expect(heldIn).toEqual({ onLock: [SRCU, WRITE], ageGfn: [SRCU, WRITE], flushRemoteTlbs: [SRCU, WRITE] });
    expect(vm.log).toEqual([
      "srcuReadLock kvm->srcu",
      "writeLock kvm->mmu_lock",
      "writeUnlock kvm->mmu_lock",
      "srcuReadUnlock kvm->srcu",
    ]);
  });

  it("are SRCU alone when lockless", () => {
    const vm = vmWithSlot();
    vm.mmu.young.add("0:256");
    const heldIn: string[][] = [];
    vm.mmu.onCall = () => heldIn.push(vm.held());
    expect(walk(vm, { lockless: true, flushOnRet: true })).toEqual({ ret: true, foundMemslot: true });
    expect(heldIn).toEqual([[SRCU], [SRCU]]);
    expect(vm.log).toEqual(["srcuReadLock kvm->srcu", "srcuReadUnlock kvm->srcu"]);
  });

  it("leave mmu_lock alone where there is no slot", () => {
    const vm = vmWithSlot();
    const start = hva(BUFFER + 0x10000);
    expect(walk(vm, { start, end: hva(start + 1) })).toEqual({ ret: false, foundMemslot: false });
    expect(vm.log).toEqual(["srcuReadLock kvm->srcu", "srcuReadUnlock kvm->srcu"]);
    expect(vm.mmu.calls).toEqual([]);
  });
});

it("hands the flags on to the handler", () => {
  const vm = vmWithSlot();
  walk(vm, { lockless: true });
  walk(vm, { mayBlock: true });
  expect(
    vm.mmu.ranges.map(({ mayBlock, lockless, attrFilter }) => ({ mayBlock, lockless, attrFilter })),
  ).toEqual([
    { mayBlock: false, lockless: true, attrFilter: KVM_FILTER_SHARED },
    { mayBlock: true, lockless: false, attrFilter: KVM_FILTER_SHARED },
  ]);
});

it("does not flush if nothing was found true, nor unless asked", () => {
  const vm = vmWithSlot();
  expect(walk(vm, { flushOnRet: true })).toEqual({ ret: false, foundMemslot: true });
  vm.mmu.young.add("0:256");
  expect(walk(vm, { flushOnRet: false })).toEqual({ ret: true, foundMemslot: true });
  expect(vm.mmu.calls).not.toContain("flushRemoteTlbs");
});

it("visits 64 slots that alias one buffer, and both address spaces, whatever the first returned", () => {
  const vm = createVm();
  for (let id = 0; id < 64; id++) vm.set({ slot: id, guestPhysAddr: 0x100000 + id * 0x10000 });
  vm.set({ slot: slotArgument(1, 3), userspaceAddr: BUFFER - 0x1000 });
  vm.mmu.young.add("0:256");
  vm.log.length = 0;
  expect(walk(vm, {})).toEqual({ ret: true, foundMemslot: true });
  const seen = vm.mmu.ranges.map((range) => slotId(vm.cpu, range.slot));
  expect(seen).toEqual([...Array.from({ length: 64 }, (_, id) => id), 3]);
  expect(vm.mmu.ranges.map(({ start }) => start)).toEqual([
    ...Array.from({ length: 64 }, (_, id) => 0x100 + id * 16),
    0x101,
  ]);
  expect(vm.log.filter((call) => call.startsWith("writeLock"))).toHaveLength(1);
});

it("stops after onLock without a handler", () => {
  const vm = vmWithSlot();
  vm.set({ slot: slotArgument(1, 0) });
  let calls = 0;
  const onLock = (): void => {
    calls++;
  };
  expect(walk(vm, { handler: null, onLock })).toEqual({ ret: false, foundMemslot: true });
  expect(calls).toBe(1);
  const elsewhere = hva(0x1000);
  expect(walk(vm, { handler: null, onLock, start: elsewhere, end: hva(0x2000) }).foundMemslot).toBe(false);
  expect(calls).toBe(1);
});

it("takes the lock for a slot that only the second address space has", () => {
  const vm = createVm();
  vm.set({ slot: slotArgument(1, 0) });
  vm.log.length = 0;
  expect(walk(vm, {})).toEqual({ ret: false, foundMemslot: true });
  expect(vm.mmu.calls.at(-1)).toBe("ageGfn 1:0 [0x100, 0x101)");
  expect(vm.log).toContain("writeLock kvm->mmu_lock");
});
