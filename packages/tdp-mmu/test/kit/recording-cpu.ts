import {
  type Address,
  type Cpu,
  type FlushDomain,
  type FlushRange,
  ForwardingCpu,
  type MemoryOrder,
  type RcuCallback,
  type RwLock,
  type SpinLock,
  type TraceEvent,
} from "@kvm-age/machine";

/** No walk of a test has so many places to give way at. */
const MAX_YIELDS = 10_000;

/**
 * Writes down, in order, the locks, read sections, flushes and trace events of an operation, and every store to a 64-bit
 * word. Answers for the scheduler when asked whether somebody waits.
 */
export class RecordingCpu extends ForwardingCpu {
  override readonly tracing: boolean = true;
  /** `lock name`, `unlock name`, `rcu`, `rcu end`, `flush`, `flush start+pages`, `callRcu`, names of events. */
  readonly log: string[] = [];
  readonly events: TraceEvent[] = [];
  /** Addresses of the 64-bit words that were stored to, in order. */
  readonly stores: Address[] = [];
  private yields = 0;
  /** Whether somebody waits for the lock, asked at every check. @default nobody */
  needbreak: () => boolean = () => false;
  /** Runs when the processor is given away. */
  onCondResched: (cpu: Cpu) => void = () => {};

  /** Names of the events, optionally those of one name as its old and new values. */
  names(): string[] {
    return this.events.map((event) => event.name);
  }

  /** The `kvm_tdp_mmu_spte_changed` events, as their fields. */
  changes(): TraceEvent["fields"][] {
    return this.events.filter(({ name }) => name === "kvm_tdp_mmu_spte_changed").map(({ fields }) => fields);
  }

  override writeOnce(address: Address, value: bigint): void {
    this.stores.push(address);
    this.inner.writeOnce(address, value);
  }

  override cmpxchg(address: Address, expected: bigint, replacement: bigint, order: MemoryOrder): bigint {
    this.stores.push(address);
    return this.inner.cmpxchg(address, expected, replacement, order);
  }

  override xchg(address: Address, value: bigint, order: MemoryOrder): bigint {
    this.stores.push(address);
    return this.inner.xchg(address, value, order);
  }

  override fetchAnd(address: Address, mask: bigint, order: MemoryOrder): bigint {
    this.stores.push(address);
    return this.inner.fetchAnd(address, mask, order);
  }

  override readLock(lock: RwLock): void {
    this.log.push(`read_lock ${lock.lockClass.name}`);
    this.inner.readLock(lock);
  }

  override readUnlock(lock: RwLock): void {
    this.log.push(`read_unlock ${lock.lockClass.name}`);
    this.inner.readUnlock(lock);
  }

  override writeLock(lock: RwLock): void {
    this.log.push(`write_lock ${lock.lockClass.name}`);
    this.inner.writeLock(lock);
  }

  override writeUnlock(lock: RwLock): void {
    this.log.push(`write_unlock ${lock.lockClass.name}`);
    this.inner.writeUnlock(lock);
  }

  override spinLock(lock: SpinLock): void {
    this.log.push(`spin_lock ${lock.lockClass.name}`);
    this.inner.spinLock(lock);
  }

  override spinUnlock(lock: SpinLock): void {
    this.log.push(`spin_unlock ${lock.lockClass.name}`);
    this.inner.spinUnlock(lock);
  }

  override rwlockNeedbreak(): boolean {
    return this.needbreak();
  }

  override condResched(): void {
    if (++this.yields > MAX_YIELDS) throw new Error(`gave way ${MAX_YIELDS} times without end`);
    this.log.push("cond_resched");
    this.onCondResched(this.inner);
  }

  override rcuReadLock(): void {
    this.log.push("rcu");
    this.inner.rcuReadLock();
  }

  override rcuReadUnlock(): void {
    this.log.push("rcu end");
    this.inner.rcuReadUnlock();
  }

  override callRcu(head: Address, callback: RcuCallback): void {
    this.log.push("call_rcu");
    super.callRcu(head, callback);
  }

  override flushRemoteTlbs(domain: FlushDomain, range: FlushRange | null): void {
    this.log.push(range === null ? "flush" : `flush 0x${range.startGfn.toString(16)}+${range.pages}`);
    this.inner.flushRemoteTlbs(domain, range);
  }

  override trace(event: TraceEvent): void {
    this.log.push(event.name);
    this.events.push(event);
  }
}
