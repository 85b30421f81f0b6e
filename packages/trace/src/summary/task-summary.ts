import type { KvmEvent, TraceRecord } from "../schema/trace-record.js";

/** Tasks of one name. */
export interface TaskRow {
  readonly comm: string;
  /** How many tasks have the name. */
  readonly tasks: number;
  /** Their events of KVM. */
  readonly events: number;
}

/** A vCPU number and the tasks that ran it. Two VMs have vCPUs of the same numbers, and no event says which VM it is about. */
export interface VcpuRow {
  readonly vcpu: number;
  /** Ids of the tasks, ascending: several mean several VMs, or that the VM's vCPU moved between threads. At most 64. */
  readonly pids: readonly number[];
  readonly faults: number;
}

interface TaskCount {
  readonly pids: Set<number>;
  events: number;
}

interface VcpuCount {
  readonly pids: Set<number>;
  faults: number;
}

const MOST_PIDS = 64;

/** The number of the vCPU that an event names; null if it names none. */
function vcpuOf(event: KvmEvent): number | null {
  return "vcpu" in event.fields ? event.fields.vcpu : null;
}

/** Counts who did something, and on which vCPU. Memory grows with the number of tasks. */
export class TaskCollector {
  readonly #tasks = new Map<string, TaskCount>();
  readonly #vcpus = new Map<number, VcpuCount>();

  observe(record: TraceRecord): void {
    if (record.kind !== "kvm") return;
    const task = this.#tasks.get(record.comm) ?? { pids: new Set(), events: 0 };
    this.#tasks.set(record.comm, task);
    task.pids.add(record.pid);
    task.events++;
    const vcpu = vcpuOf(record);
    if (vcpu === null) return;
    const count = this.#vcpus.get(vcpu) ?? { pids: new Set(), faults: 0 };
    this.#vcpus.set(vcpu, count);
    if (count.pids.size < MOST_PIDS) count.pids.add(record.pid);
    if (record.name === "kvm_page_fault") count.faults++;
  }

  get tasks(): readonly TaskRow[] {
    return [...this.#tasks]
      .map(([comm, { pids, events }]) => ({ comm, tasks: pids.size, events }))
      .sort((a, b) => b.events - a.events);
  }

  get vcpus(): readonly VcpuRow[] {
    return [...this.#vcpus]
      .map(([vcpu, { pids, faults }]) => ({ vcpu, pids: [...pids].sort((a, b) => a - b), faults }))
      .sort((a, b) => a.vcpu - b.vcpu);
  }
}
