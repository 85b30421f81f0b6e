import {
  type Address,
  type Cpu,
  type FlushDomain,
  type FlushRange,
  ForwardingCpu,
  type MemoryOrder,
  type RwLock,
} from "@kvm-age/machine";

/** Steps another thread can slip in front of. */
export type InterceptedStep =
  | "readOnce"
  | "writeOnce"
  | "storeRelease"
  | "cmpxchg"
  | "xchg"
  | "fetchAnd"
  | "relax"
  | "preemptDisable"
  | "preemptEnable"
  | "writeLock"
  | "flushRemoteTlbs"
  | "storeRelease32";

/** What happens, and before which occurrence of which step. */
export interface Interference {
  readonly step: InterceptedStep;
  /** Only steps at this address; absent = at any. */
  readonly address?: Address;
  /** Before which of the matching steps, from 1. @default 1 */
  readonly nth?: number;
  /** What another thread does there. */
  readonly act: () => void;
}

/** Lets a test do what another thread could do, right before a chosen access of an operation. */
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

  private before(step: InterceptedStep, address: number): void {
    for (const [index, interference] of this.interferences.entries()) {
      if (interference.step !== step) continue;
      if (interference.address !== undefined && interference.address !== address) continue;
      this.seen[index]! += 1;
      if (this.seen[index] !== (interference.nth ?? 1)) continue;
      this.happened++;
      interference.act();
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

  override storeRelease(address: Address, value: bigint): void {
    this.before("storeRelease", address);
    this.inner.storeRelease(address, value);
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

  override relax(address: Address): void {
    this.before("relax", address);
    this.inner.relax(address);
  }

  override preemptDisable(): void {
    this.before("preemptDisable", 0);
    this.inner.preemptDisable();
  }

  override preemptEnable(): void {
    this.before("preemptEnable", 0);
    this.inner.preemptEnable();
  }

  override writeLock(lock: RwLock): void {
    this.before("writeLock", lock.address);
    this.inner.writeLock(lock);
  }

  override flushRemoteTlbs(domain: FlushDomain, range: FlushRange | null): void {
    this.before("flushRemoteTlbs", domain.address);
    this.inner.flushRemoteTlbs(domain, range);
  }

  override storeRelease32(address: Address, value: number): void {
    this.before("storeRelease32", address);
    this.inner.storeRelease32(address, value);
  }
}
