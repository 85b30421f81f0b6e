import {
  type Address,
  type Cpu,
  type FlushDomain,
  type FlushRange,
  ForwardingCpu,
  type MemoryOrder,
  type RwLock,
  type TraceEvent,
} from "@kvm-age/machine";

/** No walk of a test has so many places to give way at. */
const MAX_YIELDS = 10_000;

/** One write to a 64-bit word. */
export interface Write {
  readonly how: "store" | "cmpxchg" | "xchg" | "and";
  readonly address: Address;
}

/**
 * Writes down, in order, the locks, preemption, flushes and trace events of an operation, and every write to a 64-bit word. Answers for
 * the scheduler when asked whether somebody waits.
 */
export class RecordingCpu extends ForwardingCpu {
  override readonly tracing: boolean;
  /** `write_lock`, `write_unlock`, `cond_resched`, `preempt off`, `preempt on`, `flush`, `flush start+pages`, names of events. */
  readonly log: string[] = [];
  readonly events: TraceEvent[] = [];
  readonly writes: Write[] = [];
  /** Whether somebody waits for the lock, asked at every check. @default nobody */
  needbreak: () => boolean = () => false;
  /** Runs when the processor is given away. */
  onCondResched: (cpu: Cpu) => void = () => {};
  private yields = 0;

  constructor(inner: Cpu, tracing = true) {
    super(inner);
    this.tracing = tracing;
  }

  /** How the word at `address` was written. */
  writesTo(address: Address): string[] {
    return this.writes.filter((write) => write.address === address).map(({ how }) => how);
  }

  flushes(): string[] {
    return this.log.filter((step) => step.startsWith("flush"));
  }

  private wrote(how: Write["how"], address: Address): void {
    this.writes.push({ how, address });
  }

  override writeOnce(address: Address, value: bigint): void {
    this.wrote("store", address);
    this.inner.writeOnce(address, value);
  }

  override cmpxchg(address: Address, expected: bigint, replacement: bigint, order: MemoryOrder): bigint {
    this.wrote("cmpxchg", address);
    return this.inner.cmpxchg(address, expected, replacement, order);
  }

  override xchg(address: Address, value: bigint, order: MemoryOrder): bigint {
    this.wrote("xchg", address);
    return this.inner.xchg(address, value, order);
  }

  override fetchAnd(address: Address, mask: bigint, order: MemoryOrder): bigint {
    this.wrote("and", address);
    return this.inner.fetchAnd(address, mask, order);
  }

  override writeLock(lock: RwLock): void {
    this.log.push("write_lock");
    this.inner.writeLock(lock);
  }

  override writeUnlock(lock: RwLock): void {
    this.log.push("write_unlock");
    this.inner.writeUnlock(lock);
  }

  override readLock(lock: RwLock): void {
    this.log.push("read_lock");
    this.inner.readLock(lock);
  }

  override preemptDisable(): void {
    this.log.push("preempt off");
    this.inner.preemptDisable();
  }

  override preemptEnable(): void {
    this.log.push("preempt on");
    this.inner.preemptEnable();
  }

  override rwlockNeedbreak(): boolean {
    return this.needbreak();
  }

  override condResched(): void {
    if (++this.yields > MAX_YIELDS) throw new Error(`gave way ${MAX_YIELDS} times without end`);
    this.log.push("cond_resched");
    this.inner.condResched();
    this.onCondResched(this.inner);
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
