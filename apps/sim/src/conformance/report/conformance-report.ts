import type { TraceEvent } from "@kvm-age/machine";
import type { KvmEvent, TraceRecord } from "@kvm-age/trace";

/** What is compared, as the columns of the table of results. */
export type ComparedKind = "event" | "answer" | "entry" | "bitmap" | "idle";

/** Counts of one kind. */
export interface ComparedCounts {
  compared: number;
  matched: number;
  excepted: number;
}

/** One difference between the kernel and the model. */
export interface Mismatch {
  readonly kind: ComparedKind;
  /** Line of the trace. */
  readonly line: number;
  readonly what: string;
  readonly kernel: string;
  readonly model: string;
  /** Fields that differ, for events. */
  readonly fields: readonly string[];
}

/** What a replay of one trace found. */
export class ConformanceReport {
  readonly counts: Record<ComparedKind, ComparedCounts> = {
    event: emptyCounts(),
    answer: emptyCounts(),
    entry: emptyCounts(),
    bitmap: emptyCounts(),
    idle: emptyCounts(),
  };
  readonly mismatches: Mismatch[] = [];
  /** How often each exception was used, by its name. */
  readonly exceptions = new Map<string, number>();

  match(kind: ComparedKind): void {
    this.counts[kind].compared++;
    this.counts[kind].matched++;
  }

  except(kind: ComparedKind, name: string): void {
    this.counts[kind].compared++;
    this.counts[kind].excepted++;
    this.exceptions.set(name, (this.exceptions.get(name) ?? 0) + 1);
  }

  mismatch(mismatch: Mismatch): void {
    this.counts[mismatch.kind].compared++;
    this.mismatches.push(mismatch);
  }
}

function emptyCounts(): ComparedCounts {
  return { compared: 0, matched: 0, excepted: 0 };
}

/** An event in one line, as `name field=value …`, numbers in hexadecimal. */
export function describeEvent(event: KvmEvent | TraceEvent): string {
  const fields = Object.entries(event.fields).map(([name, value]) => `${name}=${describeValue(value)}`);
  return `${event.name} ${fields.join(" ")}`;
}

function describeValue(value: unknown): string {
  return typeof value === "number" || typeof value === "bigint" ? value.toString(16) : String(value);
}

/** The line of a record, for a mismatch. */
export function lineOf(record: TraceRecord | undefined): number {
  return record?.line ?? 0;
}
