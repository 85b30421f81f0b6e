import { beforeEach, describe, expect, it } from "vitest";
import {
  type Address,
  CircularDependencyError,
  GracePeriodInReaderError,
  HeldAtExitError,
  LockAssertionError,
  type LockClass,
  type LockdepCpu,
  LockdepSplatError,
  LockGraph,
  RCU_HEAD_BYTES,
  type RcuCallback,
  RecursiveLockError,
  ReleaseNotHeldError,
  type RwLock,
  SleepInAtomicError,
  type SpinLock,
  StatisticsRecorder,
  type ThreadMachine,
  traceTo,
  withLockdep,
  withStatistics,
} from "../../src/index.js";
import { oneCpu, someLocks, thrown } from "../support/machine.js";

let machine: ThreadMachine;
let graph: LockGraph;
let cpu: LockdepCpu;
let locks: ReturnType<typeof someLocks>;

beforeEach(() => {
  const made = oneCpu();
  machine = made.machine;
  graph = new LockGraph();
  locks = someLocks(made.machine, made.cpu);
  cpu = withLockdep(graph)(made.cpu);
});

function edges(of: LockGraph): string[] {
  return of.toJSON().map(({ from, to }) => `${from} -> ${to}`);
}

function readThenSpin(): void {
  cpu.readLock(locks.mmuLock);
  cpu.spinLock(locks.pagesLock);
  cpu.spinUnlock(locks.pagesLock);
  cpu.readUnlock(locks.mmuLock);
}

function spinThenWrite(): void {
  cpu.spinLock(locks.pagesLock);
  cpu.writeLock(locks.mmuLock);
}

describe("lock order", () => {
  it("is learnt from what is held, with the chain and the place of its first occurrence", () => {
    cpu.mutexLock(locks.slotsLock);
    readThenSpin();
    cpu.mutexUnlock(locks.slotsLock);
    cpu.lockdep.assertNothingHeld();
    expect(edges(graph)).toEqual([
      "kvm->slots_lock -> kvm->mmu_lock",
      "kvm->slots_lock -> tdp_mmu_pages_lock",
      "kvm->mmu_lock -> tdp_mmu_pages_lock",
    ]);
    const [, , edge] = graph.toJSON();
    expect(edge).toMatchObject({ cpu: 0, heldThen: ["kvm->slots_lock (write)", "kvm->mmu_lock (read)"] });
    expect(edge!.at).toMatch(/^readThenSpin \(.*lockdep\.test\.ts:\d+:\d+\)$/);
  });

  it("names the caller's place through any other layers", () => {
    const inner = withLockdep(graph)(machine.attach());
    const recorder = new StatisticsRecorder({ role: "vcpu" });
    cpu = withStatistics(recorder)(traceTo(() => {})(inner)) as LockdepCpu;
    readThenSpin();
    const rmapBit = { name: "rmap bit", sleeps: false };
    cpu.lockdep.acquired(rmapBit, 0x40 as Address);
    readThenSpin();
    const places = graph.toJSON().map(({ at }) => at.replace(/ .*/, ""));
    expect(places).toEqual(["readThenSpin", "readThenSpin", "readThenSpin"]);
    expect(thrown(() => inner.lockdep.assertNothingHeld()).message).toMatch(/"rmap bit".*lockdep\.test\.ts/);
  });

  it("turned round is reported before the lock is taken, with both chains", () => {
    readThenSpin();
    const error = thrown(spinThenWrite);
    expect(error).toBeInstanceOf(CircularDependencyError);
    expect(error).toBeInstanceOf(LockdepSplatError);
    const place = String.raw`\(.*lockdep\.test\.ts:\d+:\d+\)`;
    const splat = [
      "WARNING: possible circular locking dependency detected",
      `cpu 0 is about to take "kvm->mmu_lock" at spinThenWrite ${place}`,
      `but already holds "tdp_mmu_pages_lock", and the new order depends on itself\\.`,
      "",
      "the existing dependency chain, in reverse order:",
      `-> #1 "tdp_mmu_pages_lock", taken while "kvm->mmu_lock" was held`,
      `     by cpu 0 at readThenSpin ${place}`,
      String.raw`     holding kvm->mmu_lock \(read\)`,
      `-> #0 "kvm->mmu_lock", about to be taken while "tdp_mmu_pages_lock" was held`,
      `     by cpu 0 at spinThenWrite ${place}`,
      String.raw`     holding tdp_mmu_pages_lock \(write\)`,
      "",
      "possible deadlock:",
      ` processor 0 holds "tdp_mmu_pages_lock" and waits for "kvm->mmu_lock"`,
      ` processor 1 holds "kvm->mmu_lock" and waits for "tdp_mmu_pages_lock"`,
    ];
    expect(error.message).toMatch(new RegExp(`^${splat.join("\n")}$`));
    // Reported instead of taken: the spinlock is all that is held.
    cpu.spinUnlock(locks.pagesLock);
    cpu.lockdep.assertNothingHeld();
  });

  it("is transitive over classes that were never held together", () => {
    const lock = (name: string): SpinLock => ({
      kind: "spinlock",
      address: machine.frames.allocateSpan(cpu, 8),
      lockClass: { name, sleeps: false },
    });
    const [a, b, c] = [lock("A"), lock("B"), lock("C")];
    const both = (outer: SpinLock, inner: SpinLock) => {
      cpu.spinLock(outer);
      cpu.spinLock(inner);
      cpu.spinUnlock(inner);
      cpu.spinUnlock(outer);
    };
    both(a, b);
    both(b, c);
    both(a, c);
    const error = thrown(() => both(c, a)) as CircularDependencyError;
    expect(error).toBeInstanceOf(CircularDependencyError);
    expect(error.edge).toMatchObject({ from: "C", to: "A" });
    expect(error.existing.map(({ from, to }) => from + to)).toEqual(["AC"]);
    cpu.spinUnlock(c);
    expect(thrown(() => graph.add({ ...error.edge, from: "C", to: "B" })).message).toMatch(/-> #1 "C"/);
  });

  it("is shared by the processors of a graph, whichever took the lock", () => {
    const second = withLockdep(graph)(machine.attach());
    readThenSpin();
    second.spinLock(locks.pagesLock);
    const error = thrown(() => second.readLock(locks.mmuLock));
    expect(error).toBeInstanceOf(CircularDependencyError);
    expect(error.message).toMatch(/^cpu 1 is about to take/m);
    expect(error.message).toMatch(/^ {5}by cpu 0 at readThenSpin/m);
  });

  it("of other threads is merged in as data, and a cycle of both is reported", () => {
    readThenSpin();
    const other = new LockGraph();
    const elsewhere = withLockdep(other)(machine.attach());
    elsewhere.spinLock(locks.pagesLock);
    elsewhere.readLock(locks.mmuLock);
    const data = structuredClone(other.toJSON());
    expect(JSON.parse(JSON.stringify(other))).toEqual(data);
    const error = thrown(() => graph.merge(data));
    expect(error).toBeInstanceOf(CircularDependencyError);
    expect(edges(graph)).toEqual(["kvm->mmu_lock -> tdp_mmu_pages_lock"]);
    graph.merge(structuredClone(graph.toJSON()));
    expect(edges(graph)).toHaveLength(1);
  });

  it("does not count a trylock as waiting, but what is taken under it", () => {
    readThenSpin();
    expect(cpu.spinTrylock(locks.pagesLock)).toBe(true);
    cpu.spinUnlock(locks.pagesLock);
    const fresh = withLockdep(new LockGraph())(machine.attach());
    fresh.readLock(locks.mmuLock);
    expect(fresh.spinTrylock(locks.pagesLock)).toBe(true);
    expect(fresh.spinTrylock(locks.pagesLock)).toBe(false);
    fresh.spinUnlock(locks.pagesLock);
    fresh.readUnlock(locks.mmuLock);
    expect(fresh.spinTrylock(locks.pagesLock)).toBe(true);
    fresh.readLock(locks.mmuLock);
    fresh.readUnlock(locks.mmuLock);
    fresh.spinUnlock(locks.pagesLock);
    fresh.readLock(locks.mmuLock);
    expect(thrown(() => fresh.spinLock(locks.pagesLock))).toBeInstanceOf(CircularDependencyError);
  });

  it("covers the allocator's own lock", () => {
    cpu.readLock(locks.mmuLock);
    machine.frames.allocateSpan(cpu, 8192);
    cpu.readUnlock(locks.mmuLock);
    expect(edges(graph)).toEqual(["kvm->mmu_lock -> arena span lock"]);
  });
});

describe("SRCU in the order", () => {
  function updateMemslots(): void {
    cpu.mutexLock(locks.slotsLock);
    cpu.synchronizeSrcu(locks.kvmSrcu);
    cpu.mutexUnlock(locks.slotsLock);
  }

  function takeSlotsLockInside(): void {
    const index = cpu.srcuReadLock(locks.kvmSrcu);
    cpu.mutexLock(locks.slotsLock);
    cpu.mutexUnlock(locks.slotsLock);
    cpu.srcuReadUnlock(locks.kvmSrcu, index);
  }

  it("slots_lock inside a read section is reported, because its holder waits for readers", () => {
    updateMemslots();
    const error = thrown(takeSlotsLockInside);
    expect(error).toBeInstanceOf(CircularDependencyError);
    expect(error.message).toContain(` processor 0 holds "kvm->srcu" and waits for "kvm->slots_lock"`);
    expect(error.message).toContain(` processor 1 holds "kvm->slots_lock" and waits for "kvm->srcu"`);
  });

  it("and the other way round", () => {
    takeSlotsLockInside();
    expect(thrown(updateMemslots)).toBeInstanceOf(CircularDependencyError);
  });

  it("a lock dropped before the grace period is fine, and so is a read section under any lock", () => {
    updateMemslots();
    const slotsArchLock = {
      ...locks.slotsLock,
      address: machine.frames.allocateSpan(cpu, 8),
      lockClass: { name: "kvm->slots_arch_lock", sleeps: true },
    };
    const outer = cpu.srcuReadLock(locks.kvmSrcu);
    const inner = cpu.srcuReadLock(locks.kvmSrcu);
    cpu.mutexLock(slotsArchLock);
    cpu.mutexUnlock(slotsArchLock);
    cpu.srcuReadUnlock(locks.kvmSrcu, inner);
    cpu.srcuReadUnlock(locks.kvmSrcu, outer);
    cpu.mutexLock(slotsArchLock);
    cpu.srcuReadUnlock(locks.kvmSrcu, cpu.srcuReadLock(locks.kvmSrcu));
    cpu.mutexUnlock(slotsArchLock);
    cpu.lockdep.assertNothingHeld();
  });

  it("a grace period inside its own read section is reported", () => {
    cpu.srcuReadLock(locks.kvmSrcu);
    const error = thrown(() => cpu.synchronizeSrcu(locks.kvmSrcu));
    expect(error).toBeInstanceOf(GracePeriodInReaderError);
    expect(error.message).toMatch(/grace period of "kvm->srcu" is waited for inside its own read section/);
    expect(error.message).toMatch(/1 lock held by cpu 0:\n #0: "kvm->srcu" \(srcu, read, 0x/);
  });

  it("the same for RCU", () => {
    cpu.rcuReadLock();
    expect(thrown(() => cpu.synchronizeRcu())).toBeInstanceOf(GracePeriodInReaderError);
    expect(thrown(() => cpu.rcuBarrier())).toBeInstanceOf(GracePeriodInReaderError);
    cpu.rcuReadUnlock();
    cpu.synchronizeRcu();
    cpu.rcuBarrier();
  });
});

describe("recursion", () => {
  it.each([
    ["read in read", () => [cpu.readLock(locks.mmuLock), cpu.readLock(locks.mmuLock)]],
    ["read in write", () => [cpu.writeLock(locks.mmuLock), cpu.readLock(locks.mmuLock)]],
    ["write in read", () => [cpu.readLock(locks.mmuLock), cpu.writeLock(locks.mmuLock)]],
    ["a spinlock", () => [cpu.spinLock(locks.pagesLock), cpu.spinLock(locks.pagesLock)]],
    ["a mutex", () => [cpu.mutexLock(locks.slotsLock), cpu.mutexLock(locks.slotsLock)]],
  ])("%s is reported", (_what, recurse) => {
    const error = thrown(recurse);
    expect(error).toBeInstanceOf(RecursiveLockError);
    expect(error.message).toMatch(/^WARNING: possible recursive locking detected\ncpu 0 is about to take "/);
    expect(error.message).toMatch(/but already holds "/);
  });

  it("counts by class, unless the class says that it nests", () => {
    const rmapBit: LockClass = { name: "rmap bit", sleeps: false };
    cpu.lockdep.acquired(rmapBit, 0x1000 as Address);
    expect(thrown(() => cpu.lockdep.acquired(rmapBit, 0x2000 as Address))).toBeInstanceOf(RecursiveLockError);
    const nesting: LockClass = { name: "page table lock", sleeps: false, nests: true };
    cpu.lockdep.acquired(nesting, 0x1000 as Address);
    cpu.lockdep.acquired(nesting, 0x2000 as Address);
    expect(thrown(() => cpu.lockdep.acquired(nesting, 0x1000 as Address))).toBeInstanceOf(RecursiveLockError);
    cpu.lockdep.released(nesting, 0x1000 as Address);
    cpu.lockdep.released(nesting, 0x2000 as Address);
  });
});

describe("sleeping in atomic context", () => {
  const sleeps: [string, () => void][] = [
    ["cond_resched", () => cpu.condResched()],
    ["mutex_lock", () => cpu.mutexLock(locks.slotsLock)],
    ["synchronize_srcu", () => cpu.synchronizeSrcu(locks.kvmSrcu)],
    ["synchronize_rcu", () => cpu.synchronizeRcu()],
    ["rcu_barrier", () => cpu.rcuBarrier()],
    ["might_sleep", () => cpu.lockdep.mightSleep()],
  ];
  const contexts: [string, () => void, RegExp][] = [
    ["preemption disabled", () => cpu.preemptDisable(), /^ - preemption is disabled \(1 deep\)$/m],
    ["a spinlock", () => cpu.spinLock(locks.pagesLock), /^ - holds "tdp_mmu_pages_lock" \(spinlock, write/m],
    ["a rwlock for read", () => cpu.readLock(locks.mmuLock), /^ - holds "kvm->mmu_lock" \(rwlock, read/m],
    ["a rwlock for write", () => cpu.writeLock(locks.mmuLock), /^ - holds "kvm->mmu_lock" \(rwlock, write/m],
    [
      "an annotated bit",
      () => cpu.lockdep.acquired({ name: "rmap bit", sleeps: false }, 0x40 as Address),
      /^ - holds "rmap bit" \(annotated/m,
    ],
  ];

  it.each(
    contexts.flatMap(([context, enter, reason]) =>
      sleeps.map(([what, sleep]) => [what, context, sleep, enter, reason] as const),
    ),
  )("%s with %s is reported with the reason", (_what, _context, sleep, enter, reason) => {
    enter();
    const error = thrown(sleep);
    expect(error).toBeInstanceOf(SleepInAtomicError);
    expect(error.message).toMatch(/^BUG: sleeping function called from invalid context\nat /);
    expect(error.message).toMatch(reason);
  });

  it("is fine with a reader/writer lock whose class sleeps, which itself may not be taken there", () => {
    const semaphore: RwLock = { ...locks.mmuLock, lockClass: { name: "mm->mmap_lock", sleeps: true } };
    cpu.readLock(semaphore);
    cpu.condResched();
    cpu.readUnlock(semaphore);
    cpu.preemptDisable();
    expect(thrown(() => cpu.readLock(semaphore))).toBeInstanceOf(SleepInAtomicError);
    expect(thrown(() => cpu.writeLock(semaphore))).toBeInstanceOf(SleepInAtomicError);
  });

  it("in an RCU read section is reported", () => {
    cpu.rcuReadLock();
    for (const sleep of [() => cpu.condResched(), () => cpu.mutexLock(locks.slotsLock)]) {
      expect(thrown(sleep).message).toMatch(/ - holds "rcu_read_lock" \(rcu, read\)/);
    }
  });

  it("is fine under a mutex, in SRCU, and after atomic context has ended", () => {
    cpu.preemptDisable();
    cpu.preemptDisable();
    cpu.preemptEnable();
    expect(thrown(() => cpu.condResched())).toBeInstanceOf(SleepInAtomicError);
    cpu.preemptEnable();
    cpu.srcuReadLock(locks.kvmSrcu);
    cpu.lockdep.acquired({ name: "folio lock", sleeps: true }, 0x40 as Address);
    cpu.mutexLock(locks.slotsLock);
    cpu.condResched();
  });
});

describe("releases", () => {
  it.each([
    ["read_unlock", () => cpu.readUnlock(locks.mmuLock)],
    ["write_unlock", () => cpu.writeUnlock(locks.mmuLock)],
    ["spin_unlock", () => cpu.spinUnlock(locks.pagesLock)],
    ["mutex_unlock", () => cpu.mutexUnlock(locks.slotsLock)],
    ["rcu_read_unlock", () => cpu.rcuReadUnlock()],
    ["srcu_read_unlock", () => cpu.srcuReadUnlock(locks.kvmSrcu, 0)],
    ["preempt_enable", () => cpu.preemptEnable()],
    ["an annotated bit", () => cpu.lockdep.released({ name: "rmap bit", sleeps: false }, 0x40 as Address)],
  ])("of %s without a hold is reported", (_what, release) => {
    const error = thrown(release);
    expect(error).toBeInstanceOf(ReleaseNotHeldError);
    expect(error.message).toMatch(/no locks held by cpu 0$/);
  });

  it("in the wrong mode is reported", () => {
    cpu.readLock(locks.mmuLock);
    expect(thrown(() => cpu.writeUnlock(locks.mmuLock)).message).toMatch(
      /^WARNING: bad unlock balance: "kvm->mmu_lock" \(rwlock, write, 0x[0-9a-f]+\) is released but not held/,
    );
  });

  it("may come in any order", () => {
    cpu.readLock(locks.mmuLock);
    cpu.spinLock(locks.pagesLock);
    cpu.readUnlock(locks.mmuLock);
    cpu.spinUnlock(locks.pagesLock);
    cpu.lockdep.assertNothingHeld();
  });
});

describe("at the end of an operation", () => {
  it("a held lock is reported", () => {
    cpu.readLock(locks.mmuLock);
    const error = thrown(() => cpu.lockdep.assertNothingHeld());
    expect(error).toBeInstanceOf(HeldAtExitError);
    expect(error.message).toMatch(
      /^WARNING: lock held at exit\n\n1 lock held by cpu 0:\n #0: "kvm->mmu_lock" \(rwlock, read, 0x[0-9a-f]+\), at .*lockdep\.test\.ts/,
    );
  });

  it("disabled preemption is reported", () => {
    cpu.preemptDisable();
    expect(thrown(() => cpu.lockdep.assertNothingHeld()).message).toMatch(
      /preemption still disabled at exit \(1 deep\)/,
    );
  });
});

describe("assertions", () => {
  it("know the mode of a hold, as the kernel's do", () => {
    const { lockdep } = cpu;
    cpu.readLock(locks.mmuLock);
    lockdep.assertHeld(locks.mmuLock, "read");
    lockdep.assertHeld(locks.mmuLock, "any");
    expect(thrown(() => lockdep.assertHeld(locks.mmuLock, "write")).message).toMatch(
      /^WARNING: lock assertion failed: "kvm->mmu_lock" must be held for write, at .*lockdep\.test\.ts/,
    );
    expect(thrown(() => lockdep.assertNotHeld(locks.mmuLock)).message).toMatch(/must not be held/);
    cpu.readUnlock(locks.mmuLock);
    lockdep.assertNotHeld(locks.mmuLock);
    cpu.writeLock(locks.mmuLock);
    lockdep.assertHeld(locks.mmuLock, "write");
    expect(thrown(() => lockdep.assertHeld(locks.mmuLock, "read"))).toBeInstanceOf(LockAssertionError);
  });

  it("take a spinlock or mutex for held for write, and SRCU for read", () => {
    const { lockdep } = cpu;
    cpu.mutexLock(locks.slotsLock);
    lockdep.assertHeld(locks.slotsLock, "write");
    const index = cpu.srcuReadLock(locks.kvmSrcu);
    lockdep.assertHeld(locks.kvmSrcu, "read");
    cpu.srcuReadUnlock(locks.kvmSrcu, index);
    expect(thrown(() => lockdep.assertHeld(locks.kvmSrcu, "any")).message).toMatch(
      /"kvm->srcu" must be held, at/,
    );
    cpu.spinLock(locks.pagesLock);
    lockdep.assertHeld(locks.pagesLock, "write");
  });

  it("accept any one of several", () => {
    const { lockdep } = cpu;
    expect(thrown(() => lockdep.assertAnyHeld(locks.slotsLock, locks.kvmSrcu)).message).toMatch(
      /at least one of "kvm->slots_lock", "kvm->srcu" must be held/,
    );
    cpu.srcuReadLock(locks.kvmSrcu);
    lockdep.assertAnyHeld(locks.slotsLock, locks.kvmSrcu);
  });

  it("know RCU and preemption; a spinning lock disables preemption, a mutex does not", () => {
    const { lockdep } = cpu;
    expect(thrown(() => lockdep.assertRcuReadLockHeld())).toBeInstanceOf(LockAssertionError);
    cpu.rcuReadLock();
    lockdep.assertRcuReadLockHeld();
    expect(thrown(() => lockdep.assertPreemptionDisabled())).toBeInstanceOf(LockAssertionError);
    cpu.rcuReadUnlock();
    cpu.mutexLock(locks.slotsLock);
    expect(thrown(() => lockdep.assertPreemptionDisabled())).toBeInstanceOf(LockAssertionError);
    cpu.preemptDisable();
    lockdep.assertPreemptionDisabled();
    cpu.preemptEnable();
    cpu.readLock(locks.mmuLock);
    lockdep.assertPreemptionDisabled();
  });
});

describe("RCU callbacks", () => {
  function runCallback(body: (runner: LockdepCpu) => void): void {
    const head = machine.frames.allocateSpan(cpu, RCU_HEAD_BYTES);
    const callback: RcuCallback = { id: 1, run: (runner) => body(runner as LockdepCpu) };
    cpu.callRcu(head, callback);
    cpu.rcuBarrier();
  }

  it("run on the layer, in atomic context", () => {
    let runner: unknown;
    runCallback((on) => {
      runner = on;
    });
    expect(runner).toBe(cpu);
    cpu.lockdep.assertNothingHeld();
    const error = thrown(() => runCallback((on) => on.mutexLock(locks.slotsLock)));
    expect(error.message).toMatch(/ - holds "rcu_callback" \(rcu callback, write\)/);
  });

  it("leave nothing held", () => {
    const error = thrown(() => runCallback((on) => on.spinLock(locks.pagesLock)));
    expect(error).toBeInstanceOf(HeldAtExitError);
    expect(error.message).toMatch(/ #1: "tdp_mmu_pages_lock"/);
  });
});

describe("an inner access that throws", () => {
  it("changes nothing about what is held", () => {
    const suspending = oneCpu();
    let suspend = true;
    const inner = Object.create(suspending.cpu, {
      readLock: {
        value: (lock: Parameters<LockdepCpu["readLock"]>[0]) => {
          if (suspend) throw new Error("suspended");
          suspending.cpu.readLock(lock);
        },
      },
    }) as typeof suspending.cpu;
    const { mmuLock } = someLocks(suspending.machine, suspending.cpu);
    const layered = withLockdep(new LockGraph())(inner);
    expect(() => layered.readLock(mmuLock)).toThrow("suspended");
    layered.lockdep.assertNothingHeld();
    suspend = false;
    layered.readLock(mmuLock);
    layered.lockdep.assertHeld(mmuLock, "read");
  });
});
