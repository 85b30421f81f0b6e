import {
  CircularDependencyError,
  LockAssertionError,
  type LockdepCpu,
  RecursiveLockError,
  ReleaseNotHeldError,
  SleepInAtomicError,
  StatisticsRecorder,
  withStatistics,
} from "@kvm-age/machine";
import { beforeEach, describe, expect, it } from "vitest";
import {
  kvmRmapLock,
  kvmRmapLockReadonly,
  kvmRmapUnlock,
  kvmRmapUnlockReadonly,
  kvmZapAllRmapSptes,
  kvmZapOneRmapSpte,
  pteListAdd,
  pteListRemove,
  RMAP_LOCK_CLASS,
} from "../src/index.js";
import { add, addMany, clearSpte, remove, thrown, zapAll } from "./support/operations.js";
import { RmapVm } from "./support/vm.js";

let vm: RmapVm;
let cpu: LockdepCpu;

beforeEach(() => {
  vm = new RmapVm();
  cpu = vm.cpu;
  add(vm, vm.head(0), 0);
  add(vm, vm.head(1), 1);
});

const lock = (head = vm.head()): bigint => kvmRmapLockReadonly(vm.rmaps, cpu, head);

describe("a change of a list without mmu_lock for write is a splat:", () => {
  const changes: [string, () => unknown][] = [
    ["lock", () => kvmRmapLock(vm.rmaps, cpu, vm.head())],
    ["unlock", () => kvmRmapUnlock(vm.rmaps, cpu, vm.head(), 0n)],
    ["add", () => pteListAdd(vm.rmaps, cpu, vm.rmaps.descriptors, vm.sptep(9), vm.head())],
    ["remove", () => pteListRemove(vm.rmaps, cpu, vm.sptep(0), vm.head())],
    ["zap one", () => kvmZapOneRmapSpte(vm.rmaps, cpu, vm.head(), vm.sptep(0), clearSpte)],
    ["zap all", () => kvmZapAllRmapSptes(vm.rmaps, cpu, vm.head(), clearSpte)],
  ];

  it.each(changes)("%s, with nothing held", (_what, change) => {
    const before = cpu.readOnce(vm.head());
    const error = thrown(change);
    expect(error).toBeInstanceOf(LockAssertionError);
    expect(error.message).toMatch(/"kvm->mmu_lock" must be held for write/);
    expect(cpu.readOnce(vm.head())).toBe(before);
  });

  it.each(changes)("%s, with mmu_lock for read", (_what, change) => {
    cpu.readLock(vm.mmuLock);
    const error = thrown(change);
    expect(error).toBeInstanceOf(LockAssertionError);
    expect(error.message).toMatch(/"kvm->mmu_lock" must be held for write/);
  });
});

describe("the bit in the order of locks", () => {
  it("comes after mmu_lock", () => {
    remove(vm, vm.head(), 0);
    const edges = vm.graph.toJSON().map(({ from, to }) => `${from} -> ${to}`);
    expect(edges).toContain(`kvm->mmu_lock -> ${RMAP_LOCK_CLASS.name}`);
  });

  it.each(["readLock", "writeLock"] as const)("mmu_lock taken under it is a splat (%s)", (method) => {
    remove(vm, vm.head(), 0);
    lock(vm.head(1));
    const error = thrown(() => cpu[method](vm.mmuLock));
    expect(error).toBeInstanceOf(CircularDependencyError);
    expect(error.message).toContain(`holds "${RMAP_LOCK_CLASS.name}" and waits for "kvm->mmu_lock"`);
  });

  it("two of them at once are a splat, whichever list", () => {
    lock(vm.head(0));
    const error = thrown(() => lock(vm.head(1)));
    expect(error).toBeInstanceOf(RecursiveLockError);
    expect(error.message).toContain(RMAP_LOCK_CLASS.name);
  });

  it("an empty list is no second one", () => {
    const value = lock(vm.head(0));
    expect(lock(vm.head(2))).toBe(0n);
    kvmRmapUnlockReadonly(vm.rmaps, cpu, vm.head(0), value);
    cpu.lockdep.assertNothingHeld();
  });
});

describe("under the bit", () => {
  it.each([
    ["cond_resched", () => cpu.condResched()],
    ["might_sleep", () => cpu.lockdep.mightSleep()],
    ["synchronize_rcu", () => cpu.synchronizeRcu()],
  ])("%s is a splat for a reader, for two reasons", (_what, sleep) => {
    lock();
    const error = thrown(sleep);
    expect(error).toBeInstanceOf(SleepInAtomicError);
    expect(error.message).toMatch(/^ - preemption is disabled \(1 deep\)$/m);
    expect(error.message).toMatch(/^ - holds "rmap_head->val \(KVM_RMAP_LOCKED\)" \(annotated, write, 0x/m);
  });

  it("sleeping is a splat for a writer in the midst of zapping all", () => {
    cpu.writeLock(vm.mmuLock);
    const error = thrown(() => kvmZapAllRmapSptes(vm.rmaps, cpu, vm.head(), (by) => by.lockdep.mightSleep()));
    expect(error).toBeInstanceOf(SleepInAtomicError);
    expect(error.message).toMatch(/ - holds "rmap_head->val/);
  });

  it("preemption that is enabled early is a splat at the unlock", () => {
    const value = lock();
    cpu.preemptEnable();
    const error = thrown(() => kvmRmapUnlockReadonly(vm.rmaps, cpu, vm.head(), value));
    expect(error).toBeInstanceOf(ReleaseNotHeldError);
    expect(error.message).toMatch(/preempt_enable without preempt_disable/);
  });

  it("an unlock of a list that is not locked is a splat, by reader and writer", () => {
    const value = cpu.readOnce(vm.head());
    cpu.preemptDisable();
    expect(thrown(() => kvmRmapUnlockReadonly(vm.rmaps, cpu, vm.head(), value))).toBeInstanceOf(
      ReleaseNotHeldError,
    );
    cpu.preemptEnable();
    cpu.writeLock(vm.mmuLock);
    expect(thrown(() => kvmRmapUnlock(vm.rmaps, cpu, vm.head(), value))).toBeInstanceOf(ReleaseNotHeldError);
  });
});

describe("nothing is left held", () => {
  it("after every operation, on lists of every form", () => {
    for (const count of [0, 1, 2, 15]) {
      const head = vm.head(10 + count);
      addMany(vm, head, count);
      kvmRmapUnlockReadonly(vm.rmaps, cpu, head, lock(head));
      cpu.lockdep.assertNothingHeld();
      zapAll(vm, head);
      cpu.lockdep.assertNothingHeld();
    }
  });

  it("and statistics count the bit under its own name, not where the list was empty", () => {
    const recorder = new StatisticsRecorder({ role: "ager" });
    const counted = withStatistics(recorder)(cpu);
    for (const index of [0, 1, 2]) {
      const head = vm.head(index);
      const value = kvmRmapLockReadonly(vm.rmaps, counted, head);
      kvmRmapUnlockReadonly(vm.rmaps, counted, head, value);
    }
    const [row] = recorder.snapshot().locks;
    expect(row).toMatchObject({ lockClass: RMAP_LOCK_CLASS.name, mode: "annotated", acquisitions: 2 });
  });
});

describe("preemption", () => {
  /** Takes the bit as code would that forgot to turn preemption off. */
  const lockPreemptibly = (): void => {
    const forgetful = Object.create(cpu, { preemptDisable: { value: () => {} } }) as LockdepCpu;
    kvmRmapLockReadonly(vm.rmaps, forgetful, vm.head());
  };

  it("must be off before the attempt", () => {
    const before = cpu.readOnce(vm.head());
    const error = thrown(lockPreemptibly);
    expect(error).toBeInstanceOf(LockAssertionError);
    expect(error.message).toMatch(/preemption must be disabled/);
    expect(cpu.readOnce(vm.head())).toBe(before);
  });
});
