import {
  type Address,
  type ClearMethod,
  type Cpu,
  clearBitsWhereOneByOne,
  ForwardingCpu,
  type MemoryOrder,
  type RwLock,
  type SpinLock,
} from "@kvm-age/machine";

/** Steps another thread can slip in front of. */
export type InterceptedStep =
  | "readOnce"
  | "writeOnce"
  | "cmpxchg"
  | "xchg"
  | "fetchAnd"
  | "readLock"
  | "spinLock"
  | "relax"
  | "rcuReadUnlock";

/** What happens, and before which occurrence of which step. */
export interface Interference {
  readonly step: InterceptedStep;
  /** Only steps at this address; absent = at any. */
  readonly address?: Address;
  /** Before which of the matching steps, from 1. @default 1 */
  readonly nth?: number;
  /** What another thread does there; it gets a `Cpu` that is not observed. */
  readonly act: (cpu: Cpu) => void;
}

/**
 * Lets a test do what another thread could do, right before a chosen access of an operation. Runs of words are aged word
 * by word, so that interference can fall between the look and the write of one of them.
 */
export class InterferingCpu extends ForwardingCpu {
  /** How many of the interferences have happened. */
  happened = 0;
  private readonly seen: number[];

  constructor(
    inner: Cpu,
    private readonly interferences: readonly Interference[],
  ) {
    super(inner);
    this.seen = interferences.map(() => 0);
  }

  private before(step: InterceptedStep, address: Address): void {
    for (const [index, interference] of this.interferences.entries()) {
      if (interference.step !== step) continue;
      if (interference.address !== undefined && interference.address !== address) continue;
      this.seen[index]! += 1;
      if (this.seen[index] !== (interference.nth ?? 1)) continue;
      this.happened++;
      interference.act(this.inner);
    }
  }

  override readOnce(address: Address): bigint {
    this.before("readOnce", address);
    return this.inner.readOnce(address);
  }

  override writeOnce(address: Address, value: bigint): void {
    this.before("writeOnce", address);
    this.inner.writeOnce(address, value);
  }

  override cmpxchg(address: Address, expected: bigint, replacement: bigint, order: MemoryOrder): bigint {
    this.before("cmpxchg", address);
    return this.inner.cmpxchg(address, expected, replacement, order);
  }

  override xchg(address: Address, value: bigint, order: MemoryOrder): bigint {
    this.before("xchg", address);
    return this.inner.xchg(address, value, order);
  }

  override fetchAnd(address: Address, mask: bigint, order: MemoryOrder): bigint {
    this.before("fetchAnd", address);
    return this.inner.fetchAnd(address, mask, order);
  }

  override readLock(lock: RwLock): void {
    this.before("readLock", lock.address);
    this.inner.readLock(lock);
  }

  override spinLock(lock: SpinLock): void {
    this.before("spinLock", lock.address);
    this.inner.spinLock(lock);
  }

  override relax(address: Address): void {
    this.before("relax", address);
    this.inner.relax(address);
  }

  override rcuReadUnlock(): void {
    this.before("rcuReadUnlock", 0 as Address);
    this.inner.rcuReadUnlock();
  }

  override clearBitsWhere(
    address: Address,
    count: number,
    mask: bigint,
    value: bigint,
    clear: bigint,
    method: ClearMethod,
  ): number {
    return clearBitsWhereOneByOne(this, address, count, mask, value, clear, method);
  }
}
