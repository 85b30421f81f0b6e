import type { AgingCall } from "../state/aging-call.js";
import { type DurationFigures, Durations } from "./durations.js";
import { type RangeSize, rangeSize } from "./range-size.js";

/** Aging calls of one kind, by tasks of one name, about ranges of one size. */
export interface AgingRow {
  readonly kind: AgingCall["kind"];
  /** Name of the tasks that asked. */
  readonly comm: string;
  readonly size: RangeSize;
  readonly calls: number;
  readonly young: number;
  readonly old: number;
  /** Calls whose answer the trace does not show. */
  readonly unknown: number;
  /** SPTEs that lost Accessed, or their permissions to access tracking. */
  readonly agedSptes: number;
}

/** What a trace shows of aging. */
export interface AgingSummary {
  /** The most calls first. */
  readonly rows: readonly AgingRow[];
  /** Calls whose answer a return probe gives, SPTE changes show, and nothing tells. */
  readonly answeredBy: {
    readonly returnProbe: number;
    readonly spteChanges: number;
    readonly nothing: number;
  };
  /** SPTE changes that aging made, by level of the entry, 1 to 3. */
  readonly agedByLevel: Readonly<Record<1 | 2 | 3, number>>;
  /** How long calls took between the probes at their entry and return. */
  readonly ageDuration: DurationFigures;
  readonly testDuration: DurationFigures;
}

type MutableRow = { -readonly [Field in keyof AgingRow]: AgingRow[Field] };

/** Counts aging calls. */
export class AgingCollector {
  readonly #rows = new Map<string, MutableRow>();
  readonly #durations = { age: new Durations(), test: new Durations() };
  readonly #answeredBy = { returnProbe: 0, spteChanges: 0, nothing: 0 };
  readonly #agedByLevel = { 1: 0, 2: 0, 3: 0 };

  add(call: AgingCall): void {
    const row = this.#rowOf(call);
    row.calls++;
    row.agedSptes += call.aged.length;
    if (call.young === null) row.unknown++;
    else if (call.young) row.young++;
    else row.old++;
    if (call.answeredBy === null) this.#answeredBy.nothing++;
    else if (call.answeredBy === "return probe") this.#answeredBy.returnProbe++;
    else this.#answeredBy.spteChanges++;
    for (const { level } of call.aged) this.#agedByLevel[level as 1 | 2 | 3]++;
    if (call.durationNs !== null) this.#durations[call.kind].record(call.durationNs);
  }

  get summary(): AgingSummary {
    return {
      rows: [...this.#rows.values()].sort((a, b) => b.calls - a.calls),
      answeredBy: { ...this.#answeredBy },
      agedByLevel: { ...this.#agedByLevel },
      ageDuration: this.#durations.age.figures,
      testDuration: this.#durations.test.figures,
    };
  }

  #rowOf({ kind, comm, start, end }: AgingCall): MutableRow {
    const size = rangeSize(start, end);
    const key = `${kind} ${size} ${comm}`;
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    const row = { kind, comm, size, calls: 0, young: 0, old: 0, unknown: 0, agedSptes: 0 };
    this.#rows.set(key, row);
    return row;
  }
}
