import { ThreadMachine } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import {
  type AgingPolicy,
  attachMemslots,
  checkMemslotInvariants,
  KvmMmuNotifier,
  kvmSetMemoryRegion,
  LOCKED_AGING,
  LOCKED_FLUSHING_AGING,
  LOCKLESS_AGING,
  mmuInvalidateInProgress,
  NULL_SLOT,
  UnbalancedInvalidationError,
} from "../src/index.js";
import { BUFFER, createVm, gfn, hva, region, type TestVm } from "./support/vm.js";

const PAGE = { start: hva(BUFFER), end: hva(BUFFER + 0x1000), blockable: true };

function notified(policy?: AgingPolicy): { vm: TestVm; notifier: KvmMmuNotifier } {
  const vm = createVm();
  vm.set({});
  vm.log.length = 0;
  vm.mmu.calls.length = 0;
  return { vm, notifier: new KvmMmuNotifier(vm.memslots, vm.mmu, policy) };
}

describe("aging", () => {
  it.each([
    ["lockless", LOCKLESS_AGING, false, false],
    ["locked", LOCKED_AGING, true, false],
    ["locked and flushing", LOCKED_FLUSHING_AGING, true, true],
  ] as const)("%s: takes mmu_lock, flushes for clear_flush_young", (_name, policy, locks, flushes) => {
    const { vm, notifier } = notified(policy);
    const heldInHandler = new Set<string>();
    vm.mmu.onCall = () => {
      for (const lock of vm.held()) heldInHandler.add(lock);
    };
    vm.mmu.young.add("0:256");
    expect(notifier.testYoung(vm.cpu, PAGE.start)).toBe(true);
    expect(notifier.clearYoung(vm.cpu, PAGE.start, PAGE.end)).toBe(true);
    expect(notifier.clearYoung(vm.cpu, PAGE.start, PAGE.end)).toBe(false);
    expect(vm.mmu.calls).not.toContain("flushRemoteTlbs");
    vm.mmu.young.add("0:256");
    expect(notifier.clearFlushYoung(vm.cpu, PAGE.start, PAGE.end)).toBe(true);
    expect(vm.mmu.calls.includes("flushRemoteTlbs")).toBe(flushes);
    expect(notifier.clearFlushYoung(vm.cpu, PAGE.start, PAGE.end)).toBe(false);
    expect(heldInHandler).toEqual(
      new Set(locks ? ["kvm->srcu:read", "kvm->mmu_lock:write"] : ["kvm->srcu:read"]),
    );
    expect(vm.log.includes("writeLock kvm->mmu_lock")).toBe(locks);
    expect(vm.held()).toEqual([]);
  });

  it("never blocks and leaves the invalidation state alone, even inside an open invalidation", () => {
    const { vm, notifier } = notified();
    notifier.invalidateRangeStart(vm.cpu, PAGE);
    vm.mmu.ranges.length = 0;
    notifier.clearYoung(vm.cpu, PAGE.start, PAGE.end);
    expect(vm.mmu.ranges.map(({ mayBlock }) => mayBlock)).toEqual([false]);
    expect([vm.memslots.mmuInvalidateSeq(vm.cpu), mmuInvalidateInProgress(vm.memslots, vm.cpu)]).toEqual([
      0n,
      1,
    ]);
    notifier.invalidateRangeEnd(vm.cpu, PAGE);
  });

  it("without a slot: false, and only the entry event", () => {
    const { vm, notifier } = notified(LOCKED_AGING);
    expect(notifier.clearYoung(vm.cpu, hva(0x1000), hva(0x2000))).toBe(false);
    expect(notifier.testYoung(vm.cpu, hva(0x1000))).toBe(false);
    expect(vm.mmu.calls).toEqual([]);
    expect(vm.log).not.toContain("writeLock kvm->mmu_lock");
    expect(vm.events.map(({ name }) => name)).toEqual(["kvm_age_hva", "kvm_test_age_hva"]);
  });
});

it("emits its entry events first, and none for the end of an invalidation", () => {
  const { vm, notifier } = notified();
  const { start, end } = PAGE;
  const eventsAtCall: number[] = [];
  vm.mmu.onCall = () => eventsAtCall.push(vm.events.length);
  notifier.clearYoung(vm.cpu, start, end);
  notifier.clearFlushYoung(vm.cpu, start, end);
  notifier.testYoung(vm.cpu, start);
  notifier.invalidateRangeStart(vm.cpu, PAGE);
  notifier.invalidateRangeEnd(vm.cpu, PAGE);
  expect(vm.events).toEqual([
    { name: "kvm_age_hva", fields: { start, end } },
    { name: "kvm_age_hva", fields: { start, end } },
    { name: "kvm_test_age_hva", fields: { hva: start } },
    { name: "kvm_unmap_hva_range", fields: { start, end } },
  ]);
  expect(eventsAtCall).toEqual([1, 2, 3, 4, 4]);
});

it("unmaps and flushes under mmu_lock with the invalidation open", () => {
  const { vm, notifier } = notified();
  const seen: unknown[] = [];
  vm.mmu.onCall = (name) => seen.push([name, vm.held(), mmuInvalidateInProgress(vm.memslots, vm.cpu)]);
  notifier.invalidateRangeStart(vm.cpu, { ...PAGE, blockable: false });
  const held = ["kvm->srcu:read", "kvm->mmu_lock:write"];
  expect(seen).toEqual([
    ["unmapGfnRange", held, 1],
    ["flushRemoteTlbs", held, 1],
  ]);
  expect(vm.mmu.ranges.map(({ mayBlock, lockless }) => [mayBlock, lockless])).toEqual([[false, false]]);
  notifier.invalidateRangeEnd(vm.cpu, PAGE);
  expect(vm.memslots.mmuInvalidateSeq(vm.cpu)).toBe(1n);
  expect(seen).toHaveLength(2);
});

it("does not flush if nothing was mapped", () => {
  const { vm, notifier } = notified();
  vm.mmu.unmapNeedsFlush = false;
  notifier.invalidateRangeStart(vm.cpu, PAGE);
  notifier.invalidateRangeEnd(vm.cpu, PAGE);
  expect(vm.mmu.calls).toEqual(["unmapGfnRange 0:0 [0x100, 0x101)"]);
});

it("does not touch the sequence for memory of no slot", () => {
  const { vm, notifier } = notified();
  const range = { start: hva(0x1000), end: hva(0x2000), blockable: true };
  notifier.invalidateRangeStart(vm.cpu, range);
  notifier.invalidateRangeEnd(vm.cpu, range);
  expect(vm.memslots.mmuInvalidateSeq(vm.cpu)).toBe(0n);
  expect(vm.log).not.toContain("writeLock kvm->mmu_lock");
});

it("holds a set swap back until the last open invalidation has ended", () => {
  const { vm, notifier } = notified();
  const other = { start: hva(0x1000), end: hva(0x2000), blockable: true };
  notifier.invalidateRangeStart(vm.cpu, PAGE);
  notifier.invalidateRangeStart(vm.cpu, other);
  const generations: bigint[] = [];
  const noteGeneration = (): void => void generations.push(vm.memslots.generation(vm.cpu, 0));
  vm.onRelax.push(
    () => {
      noteGeneration();
      expect(vm.held()).toEqual(["kvm->slots_lock:write", "kvm->slots_arch_lock:write"]);
      notifier.invalidateRangeEnd(vm.cpu, PAGE);
    },
    () => {
      noteGeneration();
      notifier.invalidateRangeEnd(vm.cpu, other);
    },
  );
  vm.set({ slot: 1, guestPhysAddr: 0x800000 });
  expect(generations).toEqual([2n, 2n]);
  expect(vm.onRelax).toEqual([]);
  expect(vm.memslots.generation(vm.cpu, 0)).toBe(4n);
  expect(checkMemslotInvariants(vm.memslots, vm.cpu)).toEqual([]);
});

it("does not hold a set swap back for aging", () => {
  const { vm, notifier } = notified();
  notifier.clearYoung(vm.cpu, PAGE.start, PAGE.end);
  vm.set({ memorySize: 0 });
  expect(vm.memslots.nrMemslotPages(vm.cpu)).toBe(0n);
});

it("lets notifiers find the INVALID copy while a slot is deleted", () => {
  const { vm, notifier } = notified();
  vm.mmu.young.add("0:256");
  const young: boolean[] = [];
  vm.mmu.onCall = (name) => {
    if (name === "flushShadowMemslot") young.push(notifier.clearYoung(vm.cpu, PAGE.start, PAGE.end));
  };
  vm.set({ memorySize: 0 });
  expect(young).toEqual([true]);
});

it("flushes everything on release, under SRCU alone", () => {
  const { vm, notifier } = notified();
  const held: string[][] = [];
  vm.mmu.onCall = () => held.push(vm.held());
  notifier.release(vm.cpu);
  expect(vm.mmu.calls).toEqual(["flushShadowAll"]);
  expect(held).toEqual([["kvm->srcu:read"]]);
});

it("names an end without a start", () => {
  const { vm, notifier } = notified();
  const nowhere = { start: hva(0x1000), end: hva(0x2000), blockable: true };
  expect(() => notifier.invalidateRangeEnd(vm.cpu, nowhere)).toThrow(UnbalancedInvalidationError);
  expect(vm.held()).toEqual([]);
  expect(() => notifier.invalidateRangeEnd(vm.cpu, PAGE)).toThrow(
    /mmu_invalidate_in_progress is 0, must be at least 1/,
  );
});

it("works the same through another thread's view of handle and machine", () => {
  const { vm, notifier } = notified();
  const machine = ThreadMachine.from(structuredClone(vm.machine.handle));
  const cpu = machine.attach();
  const memslots = attachMemslots(machine, structuredClone(vm.memslots.handle));
  notifier.invalidateRangeStart(vm.cpu, PAGE);
  new KvmMmuNotifier(memslots, vm.mmu).invalidateRangeEnd(cpu, PAGE);
  expect(vm.memslots.mmuInvalidateSeq(vm.cpu)).toBe(1n);
  kvmSetMemoryRegion(memslots, cpu, vm.mmu, region({ memorySize: 0 }));
  expect(vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x100))).toBe(NULL_SLOT);
  expect(checkMemslotInvariants(vm.memslots, vm.cpu)).toEqual([]);
});
