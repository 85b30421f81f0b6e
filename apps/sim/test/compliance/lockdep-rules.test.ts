import {
  type Address,
  CircularDependencyError,
  HeldAtExitError,
  LockAssertionError,
  RecursiveLockError,
  SleepInAtomicError,
} from "@kvm-age/machine";
import {
  kvmHandleHvaRange,
  kvmMmuInvalidateEnd,
  kvmMmuInvalidateRangeAdd,
  kvmMmuInvalidateStart,
  kvmMmuMaxMappingLevel,
  kvmWriteTrackAddGfn,
  kvmWriteTrackRemoveGfn,
  type MemslotWarning,
  mmuInvalidateRetryGfn,
  RMAP_HEAD_BYTES,
  SRCU_CLASS,
  slotRmapArray,
} from "@kvm-age/memslot";
import {
  type KvmRmapHead,
  kvmRmapGet,
  kvmRmapLock,
  kvmRmapLockReadonly,
  kvmRmapUnlock,
  RMAP_LOCK_CLASS,
} from "@kvm-age/rmap";
import {
  kvmMmuSlotGfnWriteProtect,
  kvmMmuZapAll,
  kvmMmuZapAllFastBegin,
  kvmMmuZapMemslotPagesAndFlush,
  kvmRmapAgeGfnRangeLocked,
  kvmShadowAgeGfn,
  kvmShadowMmuSlotDisableDirtyLogging,
  kvmShadowMmuSlotEnableDirtyLogging,
  kvmShadowMmuTrySplitHugePages,
  kvmShadowTestAgeGfn,
  kvmShadowUnmapGfnRange,
  kvmZapObsoletePages,
} from "@kvm-age/shadow-mmu";
import { PG_LEVEL_2M, PG_LEVEL_4K } from "@kvm-age/spte";
import {
  KVM_VALID_ROOTS,
  kvmTdpMmuAgeGfnRange,
  kvmTdpMmuInvalidateRoots,
  kvmTdpMmuSlotDisableDirtyLogging,
  kvmTdpMmuSlotEnableDirtyLogging,
  kvmTdpMmuTestAgeGfn,
  kvmTdpMmuUnmapGfnRange,
  kvmTdpMmuWriteProtectGfn,
  kvmTdpMmuZapAll,
  kvmTdpMmuZapAllFast,
  kvmTdpMmuZapLeafs,
} from "@kvm-age/tdp-mmu";
import { beforeEach, describe, expect, it } from "vitest";
import { KVM_LOCK_ORDER } from "../../src/compliance/kvm-lock-order.js";
import { lockdepVm, PAGES } from "./kit/lockdep-vm.js";

// Each rule of KVM's locking is broken here on purpose, and what the validator says is read.

type Subject = ReturnType<typeof lockdepVm>;

let subject: Subject;
beforeEach(() => {
  subject = lockdepVm();
});

/** What the validator says about `work`. */
function splatOf(work: () => unknown, type: new (...args: never[]) => Error): string {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(type);
    return (error as Error).message;
  }
  throw new Error(`no splat where ${type.name} was due`);
}

describe("lock order", () => {
  // SRCU never waits on its read side: its orders are tested by grace periods below.
  const orders = KVM_LOCK_ORDER.filter(({ first, second }) => first !== SRCU_CLASS && second !== SRCU_CLASS);

  // By annotations, so that nothing else but the order is asked: a mutex is not even to be wanted under a spinlock.
  it.each(orders.map(({ first, second }) => [first.name, second.name, first, second] as const))(
    "%s comes before %s",
    (firstName, secondName, first, second) => {
      const { lockdep } = subject.cpu;
      lockdep.acquired(second, 0x80 as Address);
      const splat = splatOf(() => lockdep.acquired(first, 0x40 as Address), CircularDependencyError);
      expect(splat).toContain("possible circular locking dependency");
      expect(splat).toContain(`about to take "${firstName}"`);
      expect(splat).toContain(`but already holds "${secondName}"`);
    },
  );

  it("slots_lock is not taken inside SRCU: its holder waits for readers", () => {
    const { cpu, locks } = subject;
    cpu.srcuReadLock(locks.srcu);
    const splat = splatOf(() => cpu.mutexLock(locks.slotsLock), CircularDependencyError);
    expect(splat).toContain('about to take "kvm->slots_lock"');
    expect(splat).toContain('but already holds "kvm->srcu"');
  });

  it("slots_arch_lock may be taken inside SRCU, and is released before the grace period", () => {
    const { cpu, locks } = subject;
    const index = cpu.srcuReadLock(locks.srcu);
    cpu.mutexLock(locks.slotsArchLock);
    cpu.mutexUnlock(locks.slotsArchLock);
    cpu.srcuReadUnlock(locks.srcu, index);
    cpu.mutexLock(locks.slotsArchLock);
    const splat = splatOf(() => cpu.synchronizeSrcu(locks.srcu), CircularDependencyError);
    expect(splat).toContain('about to take "kvm->srcu"');
    expect(splat).toContain('but already holds "kvm->slots_arch_lock"');
  });

  it.each(["slotsLock", "slotsArchLock"] as const)("a notifier callback does not take %s", (name) => {
    const { vm, cpu, locks } = subject;
    const lock = locks[name];
    // An MMU that wants the lock while the callback runs.
    const splat = splatOf(() => {
      const unmap = vm.kvm.unmapGfnRange.bind(vm.kvm);
      vm.kvm.unmapGfnRange = (...args) => {
        cpu.lockdep.acquired(lock.lockClass, lock.address);
        return unmap(...args);
      };
      vm.hostMm.madviseDontneed(cpu, vm.hvaOf(0), 4096);
    }, CircularDependencyError);
    expect(splat).toContain(`about to take "${lock.lockClass.name}"`);
  });

  it("two list bits are never held together", () => {
    const { cpu } = subject;
    cpu.preemptDisable();
    cpu.lockdep.acquired(RMAP_LOCK_CLASS, 0x40 as Address);
    const second = () => cpu.lockdep.acquired(RMAP_LOCK_CLASS, 0x80 as Address);
    expect(splatOf(second, RecursiveLockError)).toContain("possible recursive locking");
  });

  it.each([
    "mmu_lock for read",
    "mmu_lock for write",
    "a list bit",
    "disabled preemption",
    "tdp_mmu_pages_lock",
  ])("nothing sleeps under %s", (what) => {
    const { cpu, locks, tdp } = subject;
    if (what === "mmu_lock for read") cpu.readLock(locks.mmuLock);
    else if (what === "mmu_lock for write") cpu.writeLock(locks.mmuLock);
    else if (what === "a list bit") cpu.lockdep.acquired(RMAP_LOCK_CLASS, 0x40 as Address);
    else if (what === "disabled preemption") cpu.preemptDisable();
    else cpu.spinLock(tdp.pagesLock);
    for (const sleep of [
      () => cpu.condResched(),
      () => cpu.mutexLock(locks.slotsArchLock),
      () => cpu.synchronizeSrcu(locks.srcu),
      () => cpu.synchronizeRcu(),
    ]) {
      expect(splatOf(sleep, SleepInAtomicError)).toContain("sleeping function called from invalid context");
    }
  });
});

describe("lockless aging", () => {
  const agers: [string, (s: Subject) => unknown][] = [
    ["kvm_tdp_mmu_age_gfn_range", ({ tdp, cpu, range }) => kvmTdpMmuAgeGfnRange(tdp, cpu, range)],
    ["kvm_tdp_mmu_test_age_gfn", ({ tdp, cpu, range }) => kvmTdpMmuTestAgeGfn(tdp, cpu, range)],
    ["kvm_age_gfn, shadow part", ({ shadow, cpu, range }) => kvmShadowAgeGfn(shadow, cpu, range)],
    ["kvm_test_age_gfn, shadow part", ({ shadow, cpu, range }) => kvmShadowTestAgeGfn(shadow, cpu, range)],
  ];

  it.each(agers)("%s runs without mmu_lock in any mode", (_name, age) => {
    const { cpu, locks } = subject;
    age(subject);
    for (const mode of ["read", "write"] as const) {
      if (mode === "read") cpu.readLock(locks.mmuLock);
      else cpu.writeLock(locks.mmuLock);
      expect(splatOf(() => age(subject), LockAssertionError)).toContain('"kvm->mmu_lock" must not be held');
      if (mode === "read") cpu.readUnlock(locks.mmuLock);
      else cpu.writeUnlock(locks.mmuLock);
    }
  });

  it.each(agers)("%s under the old policy needs mmu_lock for write", (_name, age) => {
    const locked = lockdepVm("locked");
    const rule = '"kvm->mmu_lock" must be held for write';
    expect(splatOf(() => age(locked), LockAssertionError)).toContain(rule);
    locked.cpu.readLock(locked.locks.mmuLock);
    expect(splatOf(() => age(locked), LockAssertionError)).toContain(rule);
  });

  it("takes no mmu_lock inside a list's bit", () => {
    const { cpu, shadow, locks } = subject;
    const head = usedHead(subject);
    const value = kvmRmapLockReadonly(shadow.rmaps, cpu, head);
    expect(value).not.toBe(0n);
    const splat = splatOf(() => cpu.writeLock(locks.mmuLock), CircularDependencyError);
    expect(splat).toContain('about to take "kvm->mmu_lock"');
    expect(splat).toContain(RMAP_LOCK_CLASS.name);
  });
});

/** A list head of the slot that is not empty. */
function usedHead({ cpu, slot }: Subject): KvmRmapHead {
  const array = slotRmapArray(cpu, slot, PG_LEVEL_4K);
  for (let index = 0; index < PAGES; index++) {
    const head = (array + index * RMAP_HEAD_BYTES) as KvmRmapHead;
    if (kvmRmapGet(cpu, head) !== 0n) return head;
  }
  throw new Error("the nested guest has touched no page");
}

const MMU_LOCK_WRITE = '"kvm->mmu_lock" must be held for write';
const MMU_LOCK_ANY = '"kvm->mmu_lock" must be held';
const SLOTS_LOCK = '"kvm->slots_lock" must be held for write';

type Call = readonly [name: string, call: (s: Subject) => unknown];

describe("mmu_lock must be held for write", () => {
  const calls: Call[] = [
    ["kvm_mmu_invalidate_begin", ({ memslots, cpu }) => kvmMmuInvalidateStart(memslots, cpu)],
    [
      "kvm_mmu_invalidate_range_add",
      ({ memslots, cpu, range }) => kvmMmuInvalidateRangeAdd(memslots, cpu, range.start, range.end),
    ],
    ["kvm_mmu_invalidate_end", ({ memslots, cpu }) => kvmMmuInvalidateEnd(memslots, cpu)],
    [
      "kvm_unmap_gfn_range, shadow",
      ({ shadow, cpu, range }) => kvmShadowUnmapGfnRange(shadow, cpu, range, false),
    ],
    ["kvm_unmap_gfn_range, TDP", ({ tdp, cpu, range }) => kvmTdpMmuUnmapGfnRange(tdp, cpu, range, false)],
    ["kvm_mmu_zap_all, which prepares pages to be zapped", ({ shadow, cpu }) => kvmMmuZapAll(shadow, cpu)],
    ["kvm_tdp_mmu_zap_all", ({ tdp, cpu }) => kvmTdpMmuZapAll(tdp, cpu)],
    [
      "kvm_tdp_mmu_zap_leafs",
      ({ tdp, cpu, range }) => kvmTdpMmuZapLeafs(tdp, cpu, range.start, range.end, false),
    ],
    ["kvm_tdp_mmu_invalidate_roots", ({ tdp, cpu }) => kvmTdpMmuInvalidateRoots(tdp, cpu, KVM_VALID_ROOTS)],
    [
      "kvm_mmu_slot_gfn_write_protect",
      ({ shadow, cpu, slot, range }) =>
        kvmMmuSlotGfnWriteProtect(shadow, cpu, slot, range.start, PG_LEVEL_4K),
    ],
    [
      "kvm_tdp_mmu_write_protect_gfn",
      ({ tdp, cpu, slot, range }) => kvmTdpMmuWriteProtectGfn(tdp, cpu, slot, range.start, PG_LEVEL_4K),
    ],
    [
      "kvm_mmu_zap_memslot_pages_and_flush",
      ({ shadow, cpu, slot }) => kvmMmuZapMemslotPagesAndFlush(shadow, cpu, slot, false),
    ],
    [
      "__walk_slot_rmaps, as aging used it",
      ({ shadow, cpu, range }) => kvmRmapAgeGfnRangeLocked(shadow, cpu, range, true),
    ],
    ["kvm_rmap_lock", (s) => kvmRmapLock(s.shadow.rmaps, s.cpu, usedHead(s))],
    ["kvm_rmap_unlock", (s) => kvmRmapUnlock(s.shadow.rmaps, s.cpu, usedHead(s), 0n)],
    [
      "kvm_write_track_add_gfn",
      ({ memslots, cpu, slot, range }) => kvmWriteTrackAddGfn(memslots, cpu, slot, range.start),
    ],
    [
      "kvm_write_track_remove_gfn",
      ({ memslots, cpu, slot, range }) => kvmWriteTrackRemoveGfn(memslots, cpu, slot, range.start),
    ],
  ];

  it.each(calls)("%s", (_name, call) => {
    const { cpu, locks } = subject;
    expect(splatOf(() => call(subject), LockAssertionError)).toContain(MMU_LOCK_WRITE);
    cpu.readLock(locks.mmuLock);
    expect(splatOf(() => call(subject), LockAssertionError)).toContain(MMU_LOCK_WRITE);
  });
});

describe("mmu_lock must be held in either mode", () => {
  const calls: Call[] = [
    [
      "mmu_invalidate_retry_gfn",
      ({ memslots, cpu, range }) => mmuInvalidateRetryGfn(memslots, cpu, 0n, range.start),
    ],
    [
      "kvm_mmu_max_mapping_level",
      ({ vm, memslots, cpu, slot, range }) =>
        kvmMmuMaxMappingLevel(memslots, cpu, vm.hostMm, slot, range.start, PG_LEVEL_2M),
    ],
  ];

  it.each(calls)("%s", (_name, call) => {
    expect(splatOf(() => call(subject), LockAssertionError)).toContain(MMU_LOCK_ANY);
  });
});

describe("slots_lock must be held", () => {
  const withoutMmuLock: Call[] = [
    ["kvm_mmu_zap_all_fast, TDP", ({ tdp, cpu }) => kvmTdpMmuZapAllFast(tdp, cpu)],
    [
      "dirty logging of a slot switched on, TDP",
      ({ tdp, cpu, slot }) => kvmTdpMmuSlotEnableDirtyLogging(tdp, cpu, slot),
    ],
    ["and off", ({ vm, tdp, cpu, slot }) => kvmTdpMmuSlotDisableDirtyLogging(tdp, cpu, vm.hostMm, slot)],
    [
      "the same, shadow: on",
      ({ shadow, cpu, slot }) => kvmShadowMmuSlotEnableDirtyLogging(shadow, cpu, slot),
    ],
    ["off", ({ shadow, cpu, slot }) => kvmShadowMmuSlotDisableDirtyLogging(shadow, cpu, slot)],
    ["kvm_flush_remote_tlbs_memslot", ({ vm, cpu, slot }) => vm.kvm.flushRemoteTlbsMemslot(cpu, slot)],
  ];

  it.each(withoutMmuLock)("%s", (_name, call) => {
    expect(splatOf(() => call(subject), LockAssertionError)).toContain(SLOTS_LOCK);
  });

  const underMmuLock: Call[] = [
    ["kvm_mmu_zap_all_fast, shadow", ({ shadow, cpu }) => kvmMmuZapAllFastBegin(shadow, cpu)],
    ["kvm_zap_obsolete_pages", ({ shadow, cpu }) => kvmZapObsoletePages(shadow, cpu)],
    [
      "kvm_unmap_gfn_range without an invalidation, shadow",
      ({ shadow, cpu, range }) => kvmShadowUnmapGfnRange(shadow, cpu, range, false),
    ],
    [
      "splitting, which fills the VM's own caches",
      ({ shadow, cpu, slot, range }) =>
        kvmShadowMmuTrySplitHugePages(shadow, cpu, slot, range.start, range.end, PG_LEVEL_4K),
    ],
  ];

  it.each(underMmuLock)("%s", (_name, call) => {
    subject.cpu.writeLock(subject.locks.mmuLock);
    expect(splatOf(() => call(subject), LockAssertionError)).toContain(SLOTS_LOCK);
  });

  it("or SRCU, for write tracking", () => {
    const { cpu, locks, memslots, slot, range } = subject;
    cpu.writeLock(locks.mmuLock);
    const track = () => kvmWriteTrackAddGfn(memslots, cpu, slot, range.start);
    const rule = 'at least one of "kvm->slots_lock", "kvm->srcu" must be held';
    expect(splatOf(track, LockAssertionError)).toContain(rule);
  });
});

describe("list bits", () => {
  it("are taken with preemption off", () => {
    const { cpu, shadow } = subject;
    const head = usedHead(subject);
    // The reader's lock disables it; without, as a careless copy of it would do.
    const careless = Object.create(cpu, { preemptDisable: { value: () => {} } }) as typeof cpu;
    const splat = splatOf(() => kvmRmapLockReadonly(shadow.rmaps, careless, head), LockAssertionError);
    expect(splat).toContain("preemption must be disabled");
  });

  it("are not left behind", () => {
    const { cpu, shadow } = subject;
    kvmRmapLockReadonly(shadow.rmaps, cpu, usedHead(subject));
    const splat = splatOf(() => cpu.lockdep.assertNothingHeld(), HeldAtExitError);
    expect(splat).toContain("lock held at exit");
    expect(splat).toContain(RMAP_LOCK_CLASS.name);
  });
});

// Not splats but warnings, as in the kernel.
describe("the generic range helper refuses and counts", () => {
  const walk = { handler: () => true, onLock: null, flushOnRet: false, mayBlock: false, lockless: true };
  const refused: [MemslotWarning, object, number][] = [
    ["lockless-on-lock", { onLock: () => {} }, 4096],
    ["empty-hva-range", {}, 0],
    ["no-handler", { handler: null }, 4096],
  ];

  it.each(refused)("%s", (warning, change, bytes) => {
    const { vm, cpu, memslots } = subject;
    const start = vm.hvaOf(0);
    const range = { ...walk, ...change, start, end: (start + bytes) as typeof start };
    expect(kvmHandleHvaRange(memslots, cpu, vm.kvm, range).foundMemslot).toBe(false);
    expect(memslots.warningCount(cpu, warning)).toBe(1);
  });
});
