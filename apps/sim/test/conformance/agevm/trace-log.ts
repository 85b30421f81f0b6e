import type { TraceEvent } from "@kvm-age/machine";
import {
  formatTraceRecord,
  type ProbeRecord,
  type RecordOrigin,
  type TraceKernel,
  type TraceRecord,
  traceHeader,
} from "@kvm-age/trace";
import type { PreemptDepth } from "../../../src/tracing/preempt-depth-cpu.js";

/** Who writes to the trace. */
export interface Task {
  readonly comm: string;
  readonly pid: number;
}

const NS_PER_RECORD = 1000;

/** A kernel's trace buffer: everything that happens, in order, under the name of the task that is running. */
export class TraceLog {
  /** Who is running. */
  task: Task;
  private readonly records: TraceRecord[] = [];

  constructor(
    task: Task,
    private readonly depth: PreemptDepth,
  ) {
    this.task = task;
  }

  /** An event of KVM's MMU. */
  event({ name, fields }: TraceEvent): void {
    // Who emits an event gives it the fields of the schema.
    this.records.push({ ...this.origin(), kind: "kvm", name, fields } as unknown as TraceRecord);
  }

  /** A note of the VMM. */
  note(text: string): void {
    this.records.push({ ...this.origin(), kind: "note", text: `agevm: ${text}` });
  }

  /** A probe at the entry of a function. */
  probe(name: string, args: ProbeRecord["args"]): void {
    this.records.push({ ...this.origin(), kind: "probe", name, place: `${name}+0x4/0x60`, args });
  }

  /** A probe at its return. */
  returned(name: string, ret: boolean): void {
    const place = `caller+0x3d/0x60 <- ${name}`;
    this.records.push({
      ...this.origin(),
      kind: "probe",
      name: `${name}_ret`,
      place,
      args: { ret: ret ? 1n : 0n },
    });
  }

  /** Does something as another task. */
  as<Result>(task: Task, work: () => Result): Result {
    const before = this.task;
    this.task = task;
    try {
      return work();
    } finally {
      this.task = before;
    }
  }

  /** The trace as the kernel's `trace` file has it. */
  text(kernel: TraceKernel): string {
    const { length } = this.records;
    const header = traceHeader(
      { form: "trace" },
      { entriesInBuffer: length, entriesWritten: length, cpus: 2 },
    );
    const lines = this.records.map((record) => formatTraceRecord(record, { kernel, form: "trace" }));
    return `${header}${lines.join("\n")}\n`;
  }

  private origin(): RecordOrigin {
    const depth = this.depth.value === 0 ? "." : this.depth.value.toString(16);
    const timestampNs = 8e9 + this.records.length * NS_PER_RECORD;
    return { line: 0, ...this.task, cpu: 1, flags: `...${depth}.`, timestampNs };
  }
}
