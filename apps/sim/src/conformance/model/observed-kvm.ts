import type { Cpu } from "@kvm-age/machine";
import type { KvmGfnRange } from "@kvm-age/memslot";
import { Kvm } from "../../kvm.js";

/** One call of a notifier's handler for a slot, and its answer. */
export interface HandlerCall {
  readonly start: number;
  readonly end: number;
  readonly answer: boolean;
}

/** `Kvm`, with the calls of the notifier written down: what the kernel's probes at these functions show. */
export class ObservedKvm extends Kvm {
  private calls: HandlerCall[] = [];

  /** The calls since the last question. */
  takeCalls(): HandlerCall[] {
    const { calls } = this;
    this.calls = [];
    return calls;
  }

  override ageGfn(cpu: Cpu, range: KvmGfnRange): boolean {
    return this.note(range, super.ageGfn(cpu, range));
  }

  override testAgeGfn(cpu: Cpu, range: KvmGfnRange): boolean {
    return this.note(range, super.testAgeGfn(cpu, range));
  }

  override unmapGfnRange(cpu: Cpu, range: KvmGfnRange): boolean {
    return this.note(range, super.unmapGfnRange(cpu, range));
  }

  private note({ start, end }: KvmGfnRange, answer: boolean): boolean {
    this.calls.push({ start, end, answer });
    return answer;
  }
}
