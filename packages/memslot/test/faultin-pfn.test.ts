import type { Cpu } from "@kvm-age/machine";
import type { Pfn, PgLevel } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import {
  type Hva,
  type HvaToPfnRequest,
  type HvaToPfnResult,
  KVM_MEM_READONLY,
  KvmMmuNotifier,
  type KvmPageFaultTarget,
  kvmMmuFaultinPfn,
  kvmMmuGfnDisallowLpage,
  kvmMmuMaxMappingLevel,
  NULL_SLOT,
  type PrimaryMmu,
  type ReleaseHow,
} from "../src/index.js";
import { BUFFER, createVm, gfn, hva, region, type TestVm } from "./support/vm.js";

const PFN = 0x123456 as Pfn;
const MAPPED: HvaToPfnResult = { error: null, pfn: PFN, mapWritable: true };

/** Answers lookups with the given results in turn, the last one for ever. */
class FakePrimaryMmu implements PrimaryMmu {
  readonly requests: { hva: Hva; request: HvaToPfnRequest }[] = [];
  readonly released: [Pfn, ReleaseHow][] = [];
  level: PgLevel = 3;
  onLookup: () => void = () => {};

  constructor(private readonly answers: HvaToPfnResult[] = [MAPPED]) {}

  hvaToPfn(_cpu: Cpu, address: Hva, request: HvaToPfnRequest): HvaToPfnResult {
    this.requests.push({ hva: address, request });
    this.onLookup();
    return this.answers.length > 1 ? this.answers.shift()! : this.answers[0]!;
  }

  hostPfnMappingLevel(): PgLevel {
    return this.level;
  }

  releasePage(_cpu: Cpu, pfn: Pfn, how: ReleaseHow): void {
    this.released.push([pfn, how]);
  }
}

function fault(vm: TestVm, primary: PrimaryMmu, changes: Partial<KvmPageFaultTarget> = {}) {
  const slot = vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x105));
  return kvmMmuFaultinPfn(vm.memslots, vm.cpu, primary, {
    slot,
    gfn: gfn(0x105),
    write: false,
    prefetch: false,
    ...changes,
  });
}

function vmWith(flags = 0): TestVm {
  const vm = createVm();
  vm.set({ flags });
  return vm;
}

const PAGE = { start: hva(BUFFER + 0x5000), end: hva(BUFFER + 0x6000), blockable: true };

describe("finds", () => {
  it("the page at the slot's hva, without waiting", () => {
    const vm = vmWith();
    const primary = new FakePrimaryMmu();
    const slot = vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x105));
    expect(fault(vm, primary)).toEqual({
      outcome: "continue",
      pfn: PFN,
      mapWritable: true,
      mmuSeq: 0n,
      slot,
      errno: null,
    });
    expect(primary.requests).toEqual([
      {
        hva: BUFFER + 0x5000,
        request: { write: false, allowWritable: true, noWait: true, interruptible: false },
      },
    ]);
    expect(primary.released).toEqual([]);
  });

  it("a page that needs I/O by a second, interruptible lookup", () => {
    const primary = new FakePrimaryMmu([{ error: "needs-io" }, MAPPED]);
    expect(fault(vmWith(), primary, { write: true })).toMatchObject({ outcome: "continue", pfn: PFN });
    expect(primary.requests.map(({ request }) => request)).toEqual([
      { write: true, allowWritable: true, noWait: true, interruptible: false },
      { write: true, allowWritable: true, noWait: false, interruptible: true },
    ]);
  });

  it("a page of read-only memory read-only", () => {
    const primary = new FakePrimaryMmu([{ error: null, pfn: PFN, mapWritable: false }]);
    expect(fault(vmWith(KVM_MEM_READONLY), primary)).toMatchObject({
      outcome: "continue",
      mapWritable: false,
    });
    expect(primary.requests[0]!.request.allowWritable).toBe(false);
  });
});

describe("reacts to", () => {
  it.each([
    ["fault", "error", "EFAULT"],
    ["sigpending", "error", "EINTR"],
    ["hwpoison", "retry", "EHWPOISON"],
    ["ro-fault", "emulate", null],
  ] as const)("%s", (error, outcome, errno) => {
    expect(fault(vmWith(), new FakePrimaryMmu([{ error }]))).toMatchObject({ outcome, errno });
  });

  it("a lookup that would wait even the second time", () => {
    expect(fault(vmWith(), new FakePrimaryMmu([{ error: "needs-io" }]))).toMatchObject({
      outcome: "error",
      errno: "EFAULT",
    });
  });

  it("a write to read-only memory, without a lookup", () => {
    const primary = new FakePrimaryMmu();
    expect(fault(vmWith(KVM_MEM_READONLY), primary, { write: true })).toMatchObject({
      outcome: "emulate",
      errno: null,
    });
    expect(primary.requests).toEqual([]);
  });

  it("a gfn without slot", () => {
    expect(fault(vmWith(), new FakePrimaryMmu(), { slot: NULL_SLOT })).toMatchObject({
      outcome: "no-slot",
      slot: NULL_SLOT,
    });
  });

  it.each([
    ["EAGAIN", true, "error", "EAGAIN"],
    ["EAGAIN", false, "retry", null],
    ["retry", true, "retry", null],
  ] as const)("an INVALID slot (rule %s, prefetch %s)", (rule, prefetch, outcome, errno) => {
    const vm = createVm({ prefetchIntoInvalidSlot: rule });
    vm.set({});
    const primary = new FakePrimaryMmu();
    const results: unknown[] = [];
    vm.mmu.onCall = (name) => {
      if (name === "flushShadowMemslot") results.push(fault(vm, primary, { prefetch }));
    };
    vm.set({ memorySize: 0 });
    expect(results).toEqual([expect.objectContaining({ outcome, errno })]);
    expect(primary.requests).toEqual([]);
  });

  it("an open invalidation, before the lookup", () => {
    const vm = vmWith();
    const primary = new FakePrimaryMmu();
    new KvmMmuNotifier(vm.memslots, vm.mmu).invalidateRangeStart(vm.cpu, PAGE);
    expect(fault(vm, primary)).toMatchObject({ outcome: "retry", errno: null });
    expect(primary.requests).toEqual([]);
    expect(fault(vm, primary, { gfn: gfn(0x106) })).toMatchObject({ outcome: "continue" });
  });

  it("an invalidation during the lookup: the page goes back unused", () => {
    const vm = vmWith();
    const notifier = new KvmMmuNotifier(vm.memslots, vm.mmu);
    const primary = new FakePrimaryMmu();
    primary.onLookup = () => {
      notifier.invalidateRangeStart(vm.cpu, PAGE);
      notifier.invalidateRangeEnd(vm.cpu, PAGE);
    };
    expect(fault(vm, primary)).toMatchObject({ outcome: "retry", mmuSeq: 0n });
    expect(primary.released).toEqual([[PFN, "unused"]]);
  });
});

describe("the level of a mapping", () => {
  const HUGE = { guestPhysAddr: 0x40000000, memorySize: 0x80000000, userspaceAddr: 0x7f0040000000 };

  it("is bounded by the caller, the slot and the host", () => {
    const vm = createVm();
    vm.set(region(HUGE));
    const primary = new FakePrimaryMmu();
    const slot = vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x40000));
    vm.cpu.writeLock(vm.memslots.locks.mmuLock);
    const level = (max: PgLevel): PgLevel =>
      kvmMmuMaxMappingLevel(vm.memslots, vm.cpu, primary, slot, gfn(0x40010), max);
    expect(([1, 2, 3] as const).map(level)).toEqual([1, 2, 3]);
    primary.level = 2;
    expect(level(3)).toBe(2);
    primary.level = 3;
    kvmMmuGfnDisallowLpage(vm.cpu, slot, gfn(0x40200));
    expect(level(3)).toBe(2);
    kvmMmuGfnDisallowLpage(vm.cpu, slot, gfn(0x40000));
    expect(level(3)).toBe(1);
  });
});
