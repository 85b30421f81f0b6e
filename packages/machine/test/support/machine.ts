import {
  MUTEX_BYTES,
  type Mutex,
  RWLOCK_BYTES,
  type RwLock,
  SPINLOCK_BYTES,
  type SpinLock,
  type Srcu,
  srcuBytes,
  type ThreadCpu,
  ThreadMachine,
} from "../../src/index.js";

/** A small machine with one processor. */
export function oneCpu(arenaBytes: number = 4 << 20): { machine: ThreadMachine; cpu: ThreadCpu } {
  const machine = ThreadMachine.create({ arenaBytes, maxCpus: 8 });
  return { machine, cpu: machine.attach() };
}

/** One lock of every kind, each in memory and of a class of its own. */
export function someLocks(
  machine: ThreadMachine,
  cpu: ThreadCpu,
): { mmuLock: RwLock; pagesLock: SpinLock; slotsLock: Mutex; kvmSrcu: Srcu } {
  const at = (bytes: number) => machine.frames.allocateSpan(cpu, bytes);
  return {
    mmuLock: {
      kind: "rwlock",
      address: at(RWLOCK_BYTES),
      lockClass: { name: "kvm->mmu_lock", sleeps: false },
    },
    pagesLock: {
      kind: "spinlock",
      address: at(SPINLOCK_BYTES),
      lockClass: { name: "tdp_mmu_pages_lock", sleeps: false },
    },
    slotsLock: {
      kind: "mutex",
      address: at(MUTEX_BYTES),
      lockClass: { name: "kvm->slots_lock", sleeps: true },
    },
    kvmSrcu: {
      kind: "srcu",
      address: at(srcuBytes(machine.maxCpus)),
      lockClass: { name: "kvm->srcu", sleeps: true },
    },
  };
}

/** The error that `action` throws; fails if it throws none. */
export function thrown(action: () => unknown): Error {
  try {
    action();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("nothing was thrown");
}
