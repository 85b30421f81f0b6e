import type { TraceRecord } from "@kvm-age/trace";
import { parseAgevmNote } from "./agevm-note.js";

/** Questions about what a task does next in the trace, for operations whose cause the trace does not name. */
export class Upcoming {
  private readonly byTask = new Map<number, TraceRecord[]>();
  private readonly faulting = new Set<number>();

  constructor(records: readonly TraceRecord[]) {
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
    const next = this.after(pid, line).find(
      (record) => record.kind === "kvm" && record.name === "kvm_page_fault",
    );
    return next?.kind === "kvm" && next.name === "kvm_page_fault" ? next.fields.vcpu : null;
  }

  /** Whether the first note behind a line is the result of reading the dirty log. */
  isDirtyLogRead(pid: number, line: number): boolean {
    const next = this.after(pid, line)[0];
    const note = next?.kind === "note" ? parseAgevmNote(next.text) : null;
    return note?.what === "dirty_bitmap" || note?.what === "getlog";
  }

  private after(pid: number, line: number): readonly TraceRecord[] {
    const records = this.byTask.get(pid) ?? [];
    const first = records.findIndex((record) => record.line > line);
    return first < 0 ? [] : records.slice(first);
  }
}
