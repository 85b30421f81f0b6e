import type { TraceRecord } from "@kvm-age/trace";
import { parseAgevmNote } from "./agevm-note.js";

/** Questions about what a task does next in the trace, for operations whose cause the trace does not name. */
export class Upcoming {
  private readonly byTask = new Map<number, TraceRecord[]>();
  private readonly faulting = new Set<number>();
  /** Names of the probes that the recording has. */
  readonly probes: ReadonlySet<string>;

  constructor(records: readonly TraceRecord[]) {
    this.probes = new Set(records.filter((record) => record.kind === "probe").map(({ name }) => name));
    for (const record of records) {
      if (record.kind === "kvm" && record.name === "kvm_page_fault") this.faulting.add(record.pid);
      const task = this.byTask.get(record.pid);
      if (task === undefined) this.byTask.set(record.pid, [record]);
      else task.push(record);
    }
  }

  /** Tasks that run vCPUs, as far as they fault. */
  get faultingTasks(): number {
    return this.faulting.size;
  }

  /** The vCPU whose fault is the task's next; null if there is none. */
  vcpuOfNextFault(pid: number, line: number): number | null {
    const records = this.byTask.get(pid) ?? [];
    for (let index = firstAfter(records, line); index < records.length; index++) {
      const record = records[index]!;
      if (record.kind === "kvm" && record.name === "kvm_page_fault") return record.fields.vcpu;
    }
    return null;
  }

  /** Whether the first note behind a line is the result of reading the dirty log. */
  isDirtyLogRead(pid: number, line: number): boolean {
    const records = this.byTask.get(pid) ?? [];
    const next = records[firstAfter(records, line)];
    const note = next?.kind === "note" ? parseAgevmNote(next.text) : null;
    return note?.what === "dirty_bitmap" || note?.what === "getlog";
  }
}

/** Index of the first record behind a line. */
function firstAfter(records: readonly TraceRecord[], line: number): number {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (records[middle]!.line > line) high = middle;
    else low = middle + 1;
  }
  return low;
}
