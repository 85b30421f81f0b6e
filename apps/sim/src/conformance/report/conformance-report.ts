import type { TraceEvent } from "@kvm-age/machine";
import type { KvmEvent } from "@kvm-age/trace";

/** What is compared, as the columns of the table of results. */
export const COMPARED_KINDS = ["event", "answer", "entry", "bitmap", "idle"] as const;

/**
 * - `event`: an event of the MMU, field by field;
 * - `answer`: what a probe says that a function was called for, or returned; the root that a vCPU loads;
 * - `entry`: an entry of a walk of the live page tables;
 * - `bitmap`: a word of a dirty bitmap, or how many pages are dirty;
 * - `idle`: whether the host says that a page is idle.
 */
export type ComparedKind = (typeof COMPARED_KINDS)[number];

/** Counts of one kind. */
export interface ComparedCounts {
  compared: number;
  matched: number;
}

/** One difference between the kernel and the model. */
export interface Mismatch {
  readonly kind: ComparedKind;
  /** Line of the trace. */
  readonly line: number;
  readonly what: string;
  /** What the kernel and the model say: an event as `describeEvent` writes it, or a value. */
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

  match(kind: ComparedKind): void {
    this.counts[kind].compared++;
    this.counts[kind].matched++;
  }

  mismatch(mismatch: Mismatch): void {
    this.counts[mismatch.kind].compared++;
    this.mismatches.push(mismatch);
  }
}

function emptyCounts(): ComparedCounts {
  return { compared: 0, matched: 0 };
}

/** An event in one line, as `name field=value …`, numbers in hexadecimal. */
export function describeEvent(event: KvmEvent | TraceEvent): string {
  const fields = Object.entries(event.fields).map(([name, value]) => `${name}=${describeValue(value)}`);
  return `${event.name} ${fields.join(" ")}`;
}

/** The fields of an event that `describeEvent` wrote, by name; empty for any other text. */
export function describedFields(text: string): ReadonlyMap<string, string> {
  const pairs = [...text.matchAll(/ ([a-z_]+)=(\S*)/g)];
  return new Map(pairs.map(([, name, value]) => [name!, value!]));
}

function describeValue(value: unknown): string {
  return typeof value === "number" || typeof value === "bigint" ? value.toString(16) : String(value);
}
