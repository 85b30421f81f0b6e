import type { MmuNotifierRange, MmuNotifierSubscriber } from "@kvm-age/host-mm";
import type { Cpu } from "@kvm-age/machine";
import type { Hva, KvmMmuNotifier } from "@kvm-age/memslot";
import type { TraceLog } from "./trace-log.js";

/** KVM's subscription with the kprobes of the recordings. */
export class ProbedNotifier implements MmuNotifierSubscriber {
  constructor(
    private readonly notifier: KvmMmuNotifier,
    private readonly log: TraceLog,
  ) {}

  invalidateRangeStart(cpu: Cpu, range: MmuNotifierRange): void {
    this.notifier.invalidateRangeStart(cpu, { ...range, start: range.start as Hva, end: range.end as Hva });
  }

  invalidateRangeEnd(cpu: Cpu, range: MmuNotifierRange): void {
    this.notifier.invalidateRangeEnd(cpu, { ...range, start: range.start as Hva, end: range.end as Hva });
  }

  clearFlushYoung(cpu: Cpu, start: number, end: number): boolean {
    return this.probed("clear_flush_young", start, end, () =>
      this.notifier.clearFlushYoung(cpu, start as Hva, end as Hva),
    );
  }

  clearYoung(cpu: Cpu, start: number, end: number): boolean {
    return this.probed("clear_young", start, end, () =>
      this.notifier.clearYoung(cpu, start as Hva, end as Hva),
    );
  }

  testYoung(cpu: Cpu, address: number): boolean {
    return this.notifier.testYoung(cpu, address as Hva);
  }

  release(cpu: Cpu): void {
    this.notifier.release(cpu);
  }

  private probed(name: string, start: number, end: number, work: () => boolean): boolean {
    this.log.probe(name, { start: BigInt(start), end: BigInt(end) });
    const answer = work();
    this.log.returned(name, answer);
    return answer;
  }
}
