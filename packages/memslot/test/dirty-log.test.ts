import { describe, expect, it } from "vitest";
import {
  KVM_MEM_LOG_DIRTY_PAGES,
  kvmClearDirtyLog,
  kvmGetDirtyLog,
  type MemslotsInit,
  markPageDirtyInSlot,
  NULL_SLOT,
  slotArgument,
} from "../src/index.js";
import { createVm, gfn, type TestVm } from "./support/vm.js";

const ALL = 2n ** 64n - 1n;
const LOGGED = { flags: KVM_MEM_LOG_DIRTY_PAGES, memorySize: 100 * 4096 };

function logged(init: Partial<MemslotsInit> = {}): TestVm {
  const vm = createVm(init);
  vm.set(LOGGED);
  vm.mmu.calls.length = 0;
  return vm;
}

function mark(vm: TestVm, ...pages: number[]): void {
  for (const page of pages) {
    const slot = vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x100 + page));
    markPageDirtyInSlot(vm.cpu, slot, gfn(0x100 + page));
  }
}

const get = (vm: TestVm): bigint[] => [...kvmGetDirtyLog(vm.memslots, vm.cpu, vm.mmu, 0)];

function clear(vm: TestVm, firstPage: number, numPages: number, ...words: bigint[]): void {
  const dirtyBitmap = new BigUint64Array(words);
  kvmClearDirtyLog(vm.memslots, vm.cpu, vm.mmu, { slot: 0, firstPage, numPages, dirtyBitmap });
}

describe("KVM_GET_DIRTY_LOG", () => {
  it("returns, clears, re-arms under mmu_lock and flushes after it", () => {
    const vm = logged();
    mark(vm, 0, 63, 64, 99);
    const held: Record<string, string[]> = {};
    vm.mmu.onCall = (name) => {
      held[name] = vm.held();
    };
    expect(get(vm)).toEqual([1n | (1n << 63n), 1n | (1n << 35n)]);
    expect(vm.mmu.calls).toEqual([
      "syncDirtyLog 0:0",
      "enableLogDirtyPtMasked 0:0 0 0x8000000000000001",
      "enableLogDirtyPtMasked 0:0 64 0x800000001",
      "flushRemoteTlbsMemslot 0:0",
    ]);
    expect(held.enableLogDirtyPtMasked).toEqual(["kvm->slots_lock:write", "kvm->mmu_lock:write"]);
    expect(held.flushRemoteTlbsMemslot).toEqual(["kvm->slots_lock:write"]);
    vm.mmu.calls.length = 0;
    expect(get(vm)).toEqual([0n, 0n]);
    expect(vm.mmu.calls).toEqual(["syncDirtyLog 0:0"]);
    expect(vm.held()).toEqual([]);
  });

  it("gives a page that is written during the harvest to this log or the next, never to none", () => {
    const vm = logged();
    mark(vm, 5);
    vm.mmu.onCall = (name) => {
      if (name !== "enableLogDirtyPtMasked") return;
      vm.mmu.onCall = () => {};
      mark(vm, 6, 70);
    };
    expect(get(vm)).toEqual([1n << 5n, 1n << 6n]);
    expect(get(vm)).toEqual([1n << 6n, 0n]);
  });

  it("includes what the MMU's sync finds", () => {
    const vm = logged();
    vm.mmu.onCall = (name) => {
      if (name === "syncDirtyLog") mark(vm, 7);
    };
    expect(get(vm)).toEqual([128n, 0n]);
  });

  it("only copies under manual protection", () => {
    const vm = logged({ dirtyLogManualProtect: true });
    mark(vm, 1);
    expect([get(vm), get(vm)]).toEqual([
      [2n, 0n],
      [2n, 0n],
    ]);
    expect(vm.mmu.calls).toEqual(["syncDirtyLog 0:0", "syncDirtyLog 0:0"]);
  });

  it("starts with every page set, and no bit behind the last page, if asked", () => {
    const vm = logged({ dirtyLogManualProtect: true, dirtyLogInitiallySet: true });
    expect(get(vm)).toEqual([ALL, 2n ** 36n - 1n]);
  });

  it("does not lose the log when flags or place change, and drops it with logging", () => {
    const vm = logged();
    mark(vm, 3);
    vm.set({ ...LOGGED, guestPhysAddr: 0x200000 });
    expect(get(vm)).toEqual([8n, 0n]);
    vm.set({ ...LOGGED, guestPhysAddr: 0x200000, flags: 0 });
    expect(() => get(vm)).toThrow(/^ENOENT/);
  });

  it.each([
    [slotArgument(0, 1), /^ENOENT: slot 0:1 does not exist/],
    [slotArgument(1, 0), /^ENOENT/],
    [slotArgument(2, 0), /^EINVAL: slot is 2:0, allowed: address space below 2, id below 32764/],
    [slotArgument(0, 32764), /^EINVAL/],
  ])("refuses slot %d", (slot, message) => {
    const vm = logged();
    expect(() => kvmGetDirtyLog(vm.memslots, vm.cpu, vm.mmu, slot)).toThrow(message);
    expect(vm.mmu.calls).toEqual([]);
    expect(vm.held()).toEqual([]);
  });
});

describe("KVM_CLEAR_DIRTY_LOG", () => {
  it("re-arms only what was set and asked for", () => {
    const vm = logged({ dirtyLogManualProtect: true });
    mark(vm, 1, 2, 64, 65);
    clear(vm, 0, 100, 0b110n | (1n << 9n), 0b1n);
    expect(vm.mmu.calls).toEqual([
      "syncDirtyLog 0:0",
      "enableLogDirtyPtMasked 0:0 0 0x6",
      "enableLogDirtyPtMasked 0:0 64 0x1",
      "flushRemoteTlbsMemslot 0:0",
    ]);
    expect(get(vm)).toEqual([0n, 2n]);
  });

  it("does not flush if nothing was set", () => {
    const vm = logged({ dirtyLogManualProtect: true });
    mark(vm, 1);
    clear(vm, 64, 36, ALL);
    expect(vm.mmu.calls).toEqual(["syncDirtyLog 0:0"]);
    expect(get(vm)).toEqual([2n, 0n]);
  });

  it.each([
    [1, 64, /^EINVAL: first_page is 1, allowed: multiples of 64/],
    [128, 0, /^EINVAL: first_page is 128/],
    [0, 101, /^EINVAL: num_pages is 101, allowed: \[0, 100\]/],
    [64, 64, /^EINVAL: num_pages is 64, allowed: \[0, 36\]/],
    [0, 63, /^EINVAL: num_pages is 63, allowed: multiples of 64 or 100/],
  ])("refuses pages %d + %d", (firstPage, numPages, message) => {
    const vm = logged({ dirtyLogManualProtect: true });
    expect(() => clear(vm, firstPage, numPages, ALL, ALL)).toThrow(message);
    expect(vm.held()).toEqual([]);
  });

  it("refuses a bitmap that is too short", () => {
    expect(() => clear(logged(), 0, 100, ALL)).toThrow(
      /^EINVAL: words of the bitmap is 1, allowed: at least 2/,
    );
  });
});

it("marks nothing without a slot or without logging", () => {
  const vm = createVm();
  vm.set({});
  markPageDirtyInSlot(vm.cpu, NULL_SLOT, gfn(0x100));
  mark(vm, 0);
  vm.set({ flags: KVM_MEM_LOG_DIRTY_PAGES });
  expect(get(vm)).toEqual([0n]);
});
