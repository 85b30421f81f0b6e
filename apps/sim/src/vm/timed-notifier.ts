import type { MmuNotifierRange, MmuNotifierSubscriber } from "@kvm-age/host-mm";
import type { Cpu } from "@kvm-age/machine";
import type { Hva, KvmMmuNotifier } from "@kvm-age/memslot";
import { type Latencies, nowNs } from "./latencies.js";

/**
 * KVM's subscription as the host's notifier chain wants it (plain host virtual addresses), with `invalidate_range_start`, which
 * zaps and flushes, timed.
 */
export class TimedNotifier implements MmuNotifierSubscriber {
  constructor(
    private readonly notifier: KvmMmuNotifier,
    private readonly latencies: Latencies,
  ) {}

  invalidateRangeStart(cpu: Cpu, range: MmuNotifierRange): void {
    const start = nowNs();
    this.notifier.invalidateRangeStart(cpu, { ...range, start: range.start as Hva, end: range.end as Hva });
    this.latencies.invalidation.record(nowNs() - start);
  }

  invalidateRangeEnd(cpu: Cpu, range: MmuNotifierRange): void {
    this.notifier.invalidateRangeEnd(cpu, { ...range, start: range.start as Hva, end: range.end as Hva });
  }

  clearFlushYoung(cpu: Cpu, start: number, end: number): boolean {
    return this.notifier.clearFlushYoung(cpu, start as Hva, end as Hva);
  }

  clearYoung(cpu: Cpu, start: number, end: number): boolean {
    return this.notifier.clearYoung(cpu, start as Hva, end as Hva);
  }

  testYoung(cpu: Cpu, address: number): boolean {
    return this.notifier.testYoung(cpu, address as Hva);
  }

  release(cpu: Cpu): void {
    this.notifier.release(cpu);
  }
}
