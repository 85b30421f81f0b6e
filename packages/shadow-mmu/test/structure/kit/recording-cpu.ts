import {
  type Cpu,
  type FlushDomain,
  type FlushRange,
  ForwardingCpu,
  type RwLock,
  type SpinLock,
  type TraceEvent,
} from "@kvm-age/machine";

/** No walk of a test has so many places to give way at. */
const MAX_YIELDS = 1000;

/**
 * Writes down, in order, locks, barriers, flushes, trace events and where the processor was given away. Answers for the
 * scheduler when asked whether somebody waits.
 */
export class RecordingCpu extends ForwardingCpu {
  override readonly tracing: boolean = true;
  /**
   * `write_lock`, `write_unlock`, `spin_lock`, `spin_unlock`, `mb`, `wmb`, `rmb`, `flush`, `flush start+pages`,
   * `cond_resched`, event names.
   */
  readonly log: string[] = [];
  readonly events: TraceEvent[] = [];
  private yields = 0;
  /** Whether somebody waits for `mmu_lock`, asked at every check. @default nobody */
  needbreak: () => boolean = () => false;
  /** Runs while the processor is given away. */
  onCondResched: (cpu: Cpu) => void = () => {};

  /** The log without anything but entries that begin so. */
  only(...starts: string[]): string[] {
    return this.log.filter((entry) => starts.some((start) => entry.startsWith(start)));
  }

  override writeLock(lock: RwLock): void {
    this.log.push("write_lock");
    this.inner.writeLock(lock);
  }

  override writeUnlock(lock: RwLock): void {
    this.log.push("write_unlock");
    this.inner.writeUnlock(lock);
  }

  override spinLock(lock: SpinLock): void {
    this.log.push("spin_lock");
    this.inner.spinLock(lock);
  }

  override spinUnlock(lock: SpinLock): void {
    this.log.push("spin_unlock");
    this.inner.spinUnlock(lock);
  }

  override smpMb(): void {
    this.log.push("mb");
    this.inner.smpMb();
  }

  override smpWmb(): void {
    this.log.push("wmb");
    this.inner.smpWmb();
  }

  override smpRmb(): void {
    this.log.push("rmb");
    this.inner.smpRmb();
  }

  override rwlockNeedbreak(): boolean {
    return this.needbreak();
  }

  override condResched(): void {
    if (++this.yields > MAX_YIELDS) throw new Error(`gave way ${MAX_YIELDS} times without end`);
    this.log.push("cond_resched");
    this.onCondResched(this.inner);
  }

  override flushRemoteTlbs(domain: FlushDomain, range: FlushRange | null): void {
    this.log.push(range === null ? "flush" : `flush ${range.startGfn}+${range.pages}`);
    this.inner.flushRemoteTlbs(domain, range);
  }

  override trace(event: TraceEvent): void {
    this.log.push(event.name);
    this.events.push(event);
  }
}
