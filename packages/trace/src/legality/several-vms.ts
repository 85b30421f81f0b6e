import type { KvmEvent } from "../schema/trace-record.js";

/** One vCPU index that two tasks run in turn: the sign that a trace holds two VMs. */
export interface SharedVcpu {
  readonly vcpu: number;
  /** The two tasks, in the order of their first faults. */
  readonly pids: readonly [number, number];
}

/** How often faults must go back to a task that was seen before. One vCPU whose thread is replaced never does. */
const LEAST_RETURNS = 3;
/** The vCPU that every VM has. */
const WATCHED_VCPU = 0;

/** Notices that a trace holds several VMs: faults of vCPU 0 come from two tasks that both keep running. */
export class SeveralVms {
  readonly #pids = new Set<number>();
  #last: number | null = null;
  #returns = 0;
  #found: SharedVcpu | null = null;

  observe(event: KvmEvent): void {
    if (this.#found !== null || event.name !== "kvm_page_fault") return;
    if (event.fields.vcpu !== WATCHED_VCPU || event.pid === this.#last) return;
    if (this.#last !== null && this.#pids.has(event.pid)) this.#returns++;
    if (this.#returns === LEAST_RETURNS) {
      const [first, second] = [this.#last!, event.pid].sort(
        (one, other) => this.#rank(one) - this.#rank(other),
      );
      this.#found = { vcpu: WATCHED_VCPU, pids: [first!, second!] };
    }
    this.#pids.add(event.pid);
    this.#last = event.pid;
  }

  #rank(pid: number): number {
    return [...this.#pids].indexOf(pid);
  }

  /** What gives it away; null if nothing does. */
  get found(): SharedVcpu | null {
    return this.#found;
  }
}
