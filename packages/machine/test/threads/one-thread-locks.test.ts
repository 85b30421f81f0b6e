import { describe, expect, it } from "vitest";
import {
  GracePeriodDeadlockError,
  offset,
  RCU_HEAD_BYTES,
  type RcuCallback,
  UnbalancedUnlockError,
} from "../../src/index.js";
import { oneCpu, someLocks, thrown } from "../support/machine.js";

describe("a lock released but not held", () => {
  it("is an error that leaves the lock usable", () => {
    const { machine, cpu } = oneCpu();
    const { mmuLock, pagesLock, slotsLock } = someLocks(machine, cpu);
    const releases = [
      () => cpu.readUnlock(mmuLock),
      () => cpu.writeUnlock(mmuLock),
      () => cpu.spinUnlock(pagesLock),
      () => cpu.mutexUnlock(slotsLock),
      () => cpu.rcuReadUnlock(),
    ];
    for (const release of releases) expect(thrown(release)).toBeInstanceOf(UnbalancedUnlockError);
    expect(thrown(() => cpu.readUnlock(mmuLock)).message).toMatch(
      /^kvm->mmu_lock at 0x[0-9a-f]+ is released but not held \(state 0x0\)$/,
    );
    cpu.writeLock(mmuLock);
    cpu.writeUnlock(mmuLock);
    cpu.readLock(mmuLock);
    expect(thrown(() => cpu.writeUnlock(mmuLock))).toBeInstanceOf(UnbalancedUnlockError);
    cpu.readUnlock(mmuLock);
    expect(cpu.spinTrylock(pagesLock)).toBe(true);
    expect(cpu.spinTrylock(pagesLock)).toBe(false);
    cpu.spinUnlock(pagesLock);
    expect(cpu.rwlockNeedbreak(mmuLock)).toBe(false);
  });
});

describe("RCU on one thread", () => {
  const setup = () => {
    const { machine, cpu } = oneCpu();
    const slab = machine.createSlab(cpu, "object", 8 + RCU_HEAD_BYTES);
    const freed: number[] = [];
    const callback: RcuCallback = {
      id: slab.address,
      run: (runner, head) => {
        freed.push(head - 8);
        slab.free(runner, offset(head, -8));
      },
    };
    return { machine, cpu, slab, freed, callback };
  };

  it("runs callbacks in the order of their queueing, none before the barrier asks or a section ends", () => {
    const { cpu, slab, freed, callback } = setup();
    const objects = Array.from({ length: 10 }, () => slab.allocate(cpu));
    cpu.rcuReadLock();
    for (const object of objects) cpu.callRcu(offset(object, 8), callback);
    expect(freed).toEqual([]);
    cpu.rcuReadUnlock();
    cpu.rcuBarrier();
    expect(freed).toEqual(objects);
    expect(slab.allocatedObjects(cpu)).toBe(0);
  });

  it("runs them in the course of read sections too, without a barrier", () => {
    const { cpu, slab, freed, callback } = setup();
    cpu.callRcu(offset(slab.allocate(cpu), 8), callback);
    for (let section = 0; section < 200; section++) {
      cpu.rcuReadLock();
      cpu.rcuReadUnlock();
    }
    expect(freed).toHaveLength(1);
  });

  it("keeps an object while another processor is inside a section that began before", () => {
    const { machine, cpu, slab, freed, callback } = setup();
    const reader = machine.attach();
    reader.rcuReadLock();
    reader.rcuReadLock();
    cpu.callRcu(offset(slab.allocate(cpu), 8), callback);
    const sections = () => {
      for (let section = 0; section < 300; section++) {
        cpu.rcuReadLock();
        cpu.rcuReadUnlock();
      }
    };
    sections();
    expect(freed).toEqual([]);
    reader.rcuReadUnlock();
    sections();
    expect(freed).toEqual([]);
    reader.rcuReadUnlock();
    sections();
    expect(freed).toHaveLength(1);
  });

  it("lets a callback queue another, and detach waits for both", () => {
    const { cpu, slab, freed, callback } = setup();
    const second = slab.allocate(cpu);
    const chained: RcuCallback = {
      id: 1,
      run: (runner, head) => {
        callback.run(runner, head);
        runner.callRcu(offset(second, 8), callback);
      },
    };
    const first = slab.allocate(cpu);
    cpu.callRcu(offset(first, 8), chained);
    cpu.detach();
    expect(freed).toEqual([first, second]);
  });

  it("goes on after a callback that threw", () => {
    const { cpu, slab, freed, callback } = setup();
    const failing: RcuCallback = {
      id: 1,
      run: () => {
        throw new Error("callback failed");
      },
    };
    cpu.callRcu(offset(slab.allocate(cpu), 8), failing);
    cpu.callRcu(offset(slab.allocate(cpu), 8), callback);
    expect(() => cpu.rcuBarrier()).toThrow("callback failed");
    cpu.rcuBarrier();
    expect(freed).toHaveLength(1);
  });

  it("refuses to wait for itself", () => {
    const { cpu } = setup();
    cpu.rcuReadLock();
    const error = thrown(() => cpu.synchronizeRcu());
    expect(error).toBeInstanceOf(GracePeriodDeadlockError);
    expect(error.message).toBe("synchronize_rcu inside an RCU read section would wait for itself");
    expect(thrown(() => cpu.detach()).message).toMatch(/^detach/);
    cpu.rcuReadUnlock();
    cpu.synchronizeRcu();
  });
});

describe("SRCU on one thread", () => {
  it("nests, and a grace period passes when everybody has left", () => {
    const { machine, cpu } = oneCpu();
    const { kvmSrcu } = someLocks(machine, cpu);
    for (let round = 0; round < 5; round++) {
      const outer = cpu.srcuReadLock(kvmSrcu);
      const inner = cpu.srcuReadLock(kvmSrcu);
      cpu.srcuReadUnlock(kvmSrcu, inner);
      cpu.srcuReadUnlock(kvmSrcu, outer);
      cpu.synchronizeSrcu(kvmSrcu);
      // Each grace period leaves the set that new readers enter.
      expect(outer).toBe(round % 2);
    }
  });
});
