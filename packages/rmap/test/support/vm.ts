import {
  type Address,
  createWordWidths,
  type LockdepCpu,
  LockGraph,
  offset,
  RWLOCK_BYTES,
  type RwLock,
  type ThreadCpu,
  ThreadMachine,
  withAddressSanitizer,
  withLockdep,
  withWidthCheck,
} from "@kvm-age/machine";
import { createKvmRmaps, type KvmRmapHead, type KvmRmaps } from "../../src/index.js";

/** A value that stands for a present SPTE. */
export const PRESENT = 0x8000000000000001n;

/** What a test needs of a VM: reverse maps, `mmu_lock`, list heads, and SPTEs to put into lists. */
export class RmapVm {
  readonly machine: ThreadMachine;
  /** The first processor: the lock validator, the address sanitizer and the width check are on. */
  readonly cpu: LockdepCpu;
  readonly mmuLock: RwLock;
  readonly rmaps: KvmRmaps;
  readonly graph: LockGraph = new LockGraph();
  private readonly allocating: ThreadCpu;
  private readonly widths: SharedArrayBuffer;
  private readonly heads: Address;
  private readonly sptes: Address;

  constructor(init: { readonly duplicateCheck?: boolean } = {}) {
    this.machine = ThreadMachine.create({ arenaBytes: 8 << 20, maxCpus: 4 });
    this.allocating = this.machine.attach();
    this.widths = createWordWidths(this.machine.arena.memory);
    this.cpu = this.attach();
    this.mmuLock = {
      kind: "rwlock",
      address: this.span(RWLOCK_BYTES),
      lockClass: { name: "kvm->mmu_lock", sleeps: false },
    };
    this.rmaps = createKvmRmaps(this.cpu, this.machine, { mmuLock: this.mmuLock, ...init });
    this.heads = this.span(4096);
    this.sptes = this.span(16 * 4096);
  }

  /** Another processor, checked like the first. */
  attach(): LockdepCpu {
    return this.check(this.machine.attach());
  }

  /** Zero-filled memory of its own. */
  span(bytes: number): Address {
    return this.machine.frames.allocateSpan(this.allocating, bytes);
  }

  /** One of 512 list heads. */
  head(index = 0): KvmRmapHead {
    return offset(this.heads, index * 8) as KvmRmapHead;
  }

  /** One of 8192 SPTEs. */
  sptep(id: number): Address {
    return offset(this.sptes, id * 8);
  }

  /** The number of an SPTE. */
  idOf(sptep: Address): number {
    return (sptep - this.sptes) / 8;
  }

  /** Descriptors in use by all lists. */
  descriptors(): number {
    return this.rmaps.descriptors.allocatedObjects(this.cpu);
  }

  private check(cpu: ThreadCpu): LockdepCpu {
    const { frames } = this.machine;
    return withLockdep(this.graph)(withAddressSanitizer(frames)(withWidthCheck(this.widths)(cpu)));
  }
}
