import {
  type Address,
  type FlushDomain,
  flushDomainBytes,
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
} from "@kvm-age/machine";

/** A machine with some words, a lock of each kind, and a flush domain without members. */
export class Rig {
  readonly machine: ThreadMachine = ThreadMachine.create({ arenaBytes: 4 << 20, maxCpus: 2 });
  readonly cpu: ThreadCpu = this.machine.attach();
  /** 512 words of 64 bits, all 0. */
  readonly word: Address = this.span(4096);
  /** 1024 words of 32 bits, all 0. */
  readonly word32: Address = this.span(4096);
  readonly rwlock: RwLock = {
    kind: "rwlock",
    address: this.span(RWLOCK_BYTES),
    lockClass: { name: "mmu_lock", sleeps: false },
  };
  readonly spinlock: SpinLock = {
    kind: "spinlock",
    address: this.span(SPINLOCK_BYTES),
    lockClass: { name: "ptl", sleeps: false },
  };
  readonly mutex: Mutex = {
    kind: "mutex",
    address: this.span(MUTEX_BYTES),
    lockClass: { name: "slots_lock", sleeps: true },
  };
  readonly srcu: Srcu = {
    kind: "srcu",
    address: this.span(srcuBytes(2)),
    lockClass: { name: "srcu", sleeps: true },
  };
  readonly domain: FlushDomain = { address: this.span(flushDomainBytes(2)), maxMembers: 2 };

  private span(bytes: number): Address {
    return this.machine.frames.allocateSpan(this.cpu, bytes);
  }
}
