import type { LegalityRuleName } from "./rules.js";
import type { EntryState } from "./tdp-table.js";
import type { EntryIdentity, HistoryItem, Violation } from "./violation.js";

/** A violation while the trace still goes on: a later line can show that the blame lies elsewhere. */
export interface OpenViolation {
  line: number;
  contradicts: number | null;
  readonly rule: LegalityRuleName;
  readonly detail: string;
  readonly entry: EntryIdentity | null;
  readonly history: readonly HistoryItem[];
}

/** What a judge says about a line. */
export interface Finding {
  readonly rule: LegalityRuleName;
  readonly detail: string;
  /** Another line; 0 for the creation of a table, which no line tells of. */
  readonly contradicts?: number | null;
}

/** Lines that are kept from being blamed twice. */
const RECENT_LINES = 1024;

/** Collects violations: one for each line at most, and the first `limit` of them in full. */
export class Findings {
  readonly #limit: number;
  readonly #kept: OpenViolation[] = [];
  #count = 0;
  /** Lines blamed lately. */
  readonly #lines = new Set<number>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get count(): number {
    return this.#count;
  }

  /** Whether the line was found illegal already; the last `RECENT_LINES` that were are remembered. */
  has(line: number): boolean {
    return this.#lines.has(line);
  }

  /** Blames a line, unless it has been blamed already; returns what it recorded. */
  report(
    line: number,
    finding: Finding,
    entry: EntryState | EntryIdentity | null = null,
  ): OpenViolation | null {
    if (this.has(line)) return null;
    this.#lines.add(line);
    if (this.#lines.size > RECENT_LINES) this.#lines.delete(this.#lines.values().next().value!);
    this.#count++;
    const state = entry !== null && "history" in entry ? entry : null;
    const violation: OpenViolation = {
      line,
      contradicts: finding.contradicts === 0 ? null : (finding.contradicts ?? null),
      rule: finding.rule,
      detail: finding.detail,
      entry: state?.identity ?? (entry as EntryIdentity | null),
      history: state === null ? [] : state.history.filter((item) => item.line !== line),
    };
    if (this.#kept.length < this.#limit) this.#kept.push(violation);
    return violation;
  }

  /** All that were kept, in the order of their lines. */
  sorted(): readonly Violation[] {
    return [...this.#kept].sort((one, other) => one.line - other.line);
  }
}

/** Turns the blame around: a third line agrees with the one that was blamed. */
export function blameTheOther(violation: OpenViolation): void {
  if (violation.contradicts === null) return;
  [violation.line, violation.contradicts] = [violation.contradicts, violation.line];
}

/** What an entry held before, and since when, as reports write it. */
export function lastLeft(line: number, value: bigint): string {
  return line === 0 ? `where its table began with ${hex(value)}` : `where line ${line} left ${hex(value)}`;
}

/** A value as reports write it. */
export function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}
