import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Address,
  DurationHistogram,
  LockGraph,
  lockTotals,
  mergeStatistics,
  StatisticsRecorder,
  withLockdep,
  withStatistics,
} from "../../src/index.js";
import { oneCpu, someLocks, thrown } from "../support/machine.js";

/** A clock that only moves when told, and a machine whose locks take time by it. */
function setup(role = "vcpu") {
  const { machine, cpu: plain } = oneCpu();
  let ns = 0;
  const recorder = new StatisticsRecorder({ role, nowNs: () => ns });
  const slow = Object.create(plain, {
    readLock: {
      value: (lock: Parameters<typeof plain.readLock>[0]) => {
        ns += 100;
        plain.readLock(lock);
      },
    },
    synchronizeSrcu: {
      value: (srcu: Parameters<typeof plain.synchronizeSrcu>[0]) => {
        ns += 5000;
        plain.synchronizeSrcu(srcu);
      },
    },
  }) as typeof plain;
  const pass = (duration: number) => {
    ns += duration;
  };
  return {
    machine,
    plain,
    recorder,
    cpu: withStatistics(recorder)(slow),
    pass,
    ...someLocks(machine, plain),
  };
}

describe("accesses", () => {
  it("are counted by kind, runs by words too", () => {
    const { machine, plain, cpu, recorder } = setup();
    const frame = machine.frames.allocateFrame(plain);
    cpu.readOnce(frame);
    cpu.readOnce(frame);
    cpu.cmpxchg(frame, 0n, 1n, "full");
    cpu.writeOnce32(frame, 1);
    cpu.memset64(frame, 0n, 512);
    cpu.clearBitsWhere(frame, 10, 1n, 1n, 1n, "cmpxchg");
    cpu.relax(frame);
    cpu.callRcu(frame, { id: 1, run: () => {} });
    cpu.trace({ name: "event", fields: {} });
    cpu.flushRemoteTlbs({ address: machine.frames.allocateSpan(plain, 128), maxMembers: 1 }, null);
    expect(recorder.snapshot()).toEqual({
      role: "vcpu",
      accesses: { readOnce: 2, cmpxchg: 1, writeOnce32: 1, memset64: 1, clearBitsWhere: 1 },
      words: { readOnce: 2, cmpxchg: 1, writeOnce32: 1, memset64: 512, clearBitsWhere: 10 },
      events: { relax: 1, callRcu: 1, trace: 1, flushRemoteTlbs: 1 },
      locks: [],
    });
  });
});

describe("locks", () => {
  it("are timed by class and mode: waiting until taken, holding until release", () => {
    const { cpu, recorder, pass, mmuLock, pagesLock, slotsLock, kvmSrcu } = setup();
    cpu.readLock(mmuLock);
    pass(7);
    cpu.spinLock(pagesLock);
    pass(3);
    cpu.readUnlock(mmuLock);
    cpu.spinUnlock(pagesLock);
    cpu.writeLock(mmuLock);
    pass(50);
    cpu.writeUnlock(mmuLock);
    cpu.mutexLock(slotsLock);
    const index = cpu.srcuReadLock(kvmSrcu);
    pass(11);
    cpu.srcuReadUnlock(kvmSrcu, index);
    cpu.synchronizeSrcu(kvmSrcu);
    cpu.mutexUnlock(slotsLock);
    const rows = recorder
      .snapshot()
      .locks.map(({ lockClass, mode, acquisitions, wait, hold }) => [
        lockClass,
        mode,
        acquisitions,
        wait.totalNs,
        hold.totalNs,
      ]);
    expect(rows).toEqual([
      ["kvm->mmu_lock", "read", 1, 100, 10],
      ["tdp_mmu_pages_lock", "write", 1, 0, 3],
      ["kvm->mmu_lock", "write", 1, 0, 50],
      ["kvm->slots_lock", "write", 1, 0, 5011],
      ["kvm->srcu", "read", 1, 0, 11],
      ["kvm->srcu", "synchronize", 1, 5000, 0],
    ]);
  });

  it("include trylocks, RCU and annotated bits; a failed trylock is no acquisition", () => {
    const { cpu, recorder, pass, pagesLock } = setup();
    expect(cpu.spinTrylock(pagesLock)).toBe(true);
    expect(cpu.spinTrylock(pagesLock)).toBe(false);
    pass(4);
    cpu.spinUnlock(pagesLock);
    cpu.rcuReadLock();
    cpu.rcuReadLock();
    pass(2);
    cpu.rcuReadUnlock();
    pass(2);
    cpu.rcuReadUnlock();
    cpu.synchronizeRcu();
    cpu.rcuBarrier();
    const rmapBit = { name: "rmap bit", sleeps: false };
    cpu.lockdep.acquired(rmapBit, 0x40 as Address);
    pass(9);
    cpu.lockdep.released(rmapBit, 0x40 as Address);
    const rows = recorder
      .snapshot()
      .locks.map(({ lockClass, mode, acquisitions, wait, hold }) => [
        lockClass,
        mode,
        acquisitions,
        wait.count,
        hold.totalNs,
      ]);
    expect(rows).toEqual([
      ["tdp_mmu_pages_lock", "try", 1, 0, 4],
      ["rcu_read_lock", "read", 2, 2, 6],
      ["rcu_read_lock", "synchronize", 2, 2, 0],
      ["rmap bit", "annotated", 1, 0, 9],
    ]);
  });

  it("that were taken before the layer was there are not counted", () => {
    const { plain, cpu, recorder, mmuLock } = setup();
    plain.readLock(mmuLock);
    cpu.readUnlock(mmuLock);
    expect(recorder.snapshot().locks).toEqual([]);
  });

  it("keep lockdep inside working", () => {
    const { plain, mmuLock, recorder, kvmSrcu } = setup();
    const cpu = withStatistics(recorder)(withLockdep(new LockGraph())(plain));
    const { lockdep } = cpu;
    lockdep.mightSleep();
    cpu.readLock(mmuLock);
    lockdep.assertHeld(mmuLock, "read");
    lockdep.assertPreemptionDisabled();
    const failures = [
      () => lockdep.assertNotHeld(mmuLock),
      () => lockdep.assertRcuReadLockHeld(),
      () => lockdep.assertAnyHeld(kvmSrcu),
      () => lockdep.mightSleep(),
      () => lockdep.released({ name: "rmap bit", sleeps: false }, 0x40 as Address),
    ];
    for (const failure of failures) expect(thrown(failure).message).toMatch(/1 lock held by cpu 0/);
  });
});

describe("durations", () => {
  it("give percentiles within the histogram's precision and the exact maximum", () => {
    const durations = fc.array(fc.integer({ min: 0, max: 3_600_000_000_000 }), {
      minLength: 1,
      maxLength: 100,
    });
    fc.assert(
      fc.property(durations, fc.constantFrom(1, 50, 90, 99, 100), (values, percentile) => {
        const histogram = new DurationHistogram();
        for (const value of values) histogram.record(value);
        const sorted = [...values].sort((a, b) => a - b);
        const exact = sorted[Math.max(0, Math.ceil((percentile / 100) * values.length) - 1)]!;
        expect(Math.abs(histogram.percentileNs(percentile) - exact)).toBeLessThanOrEqual(exact / 500 + 1);
        expect(histogram.toData().maxNs).toBe(sorted.at(-1));
        expect(histogram.toData().totalNs).toBe(values.reduce((sum, value) => sum + value, 0));
      }),
      { numRuns: 40 },
    );
  });

  it("are 0 without a record, and a clock that goes back counts as 0", () => {
    const histogram = new DurationHistogram();
    expect(histogram.percentileNs(99)).toBe(0);
    histogram.record(-5);
    expect(histogram.toData()).toEqual({ count: 1, totalNs: 0, maxNs: 0, buckets: [[0, 1]] });
  });

  it("survive as data: adding the data of two is recording both", () => {
    const values = fc.array(fc.nat(1_000_000_000), { maxLength: 30 });
    fc.assert(
      fc.property(values, values, (left, right) => {
        const [a, b, both, sum] = Array.from({ length: 4 }, () => new DurationHistogram()) as [
          DurationHistogram,
          DurationHistogram,
          DurationHistogram,
          DurationHistogram,
        ];
        for (const value of left) a.record(value);
        for (const value of right) b.record(value);
        for (const value of [...left, ...right]) both.record(value);
        sum.add(structuredClone(a.toData()));
        sum.add(JSON.parse(JSON.stringify(b.toData())));
        expect(sum.toData()).toEqual(both.toData());
        expect(sum.count).toBe(left.length + right.length);
      }),
      { numRuns: 40 },
    );
  });
});

describe("snapshots", () => {
  const run = (role: string, holds: number[]) => {
    const { cpu, recorder, pass, mmuLock } = setup(role);
    for (const hold of holds) {
      cpu.writeLock(mmuLock);
      pass(hold);
      cpu.writeUnlock(mmuLock);
    }
    cpu.readLock(mmuLock);
    cpu.readUnlock(mmuLock);
    cpu.readOnce(mmuLock.address);
    return structuredClone(recorder.snapshot());
  };

  it("of one role are merged, in the order of roles", () => {
    const merged = mergeStatistics([run("vcpu", [10, 20]), run("ager", [5]), run("vcpu", [30])]);
    expect(merged.map(({ role, accesses }) => [role, accesses.readOnce])).toEqual([
      ["vcpu", 2],
      ["ager", 1],
    ]);
    const [vcpu] = merged;
    expect(vcpu!.locks.map(({ mode, acquisitions, hold }) => [mode, acquisitions, hold.totalNs])).toEqual([
      ["write", 3, 60],
      ["read", 2, 0],
    ]);
  });

  it("give totals by role, class and mode, with percentiles", () => {
    const snapshots = [run("vcpu", [10, 20]), run("ager", [5]), run("vcpu", [30])];
    const totals = lockTotals(snapshots, { role: "vcpu", lockClass: "kvm->mmu_lock", mode: "write" });
    expect(totals.acquisitions).toBe(3);
    expect(totals.hold.percentileNs(50)).toBe(20);
    expect(totals.hold.percentileNs(100)).toBe(30);
    expect(lockTotals(snapshots, {}).acquisitions).toBe(7);
    expect(lockTotals(snapshots, { mode: "read" }).wait.percentileNs(99)).toBe(100);
    expect(lockTotals(snapshots, { lockClass: "no such lock" }).acquisitions).toBe(0);
  });

  it("run by the real clock unless told otherwise", () => {
    const recorder = new StatisticsRecorder({ role: "vcpu" });
    const before = performance.now() * 1e6;
    const now = recorder.nowNs();
    expect(now).toBeGreaterThanOrEqual(before);
    expect(now).toBeLessThanOrEqual(performance.now() * 1e6);
  });
});
