import type { TraceRecord } from "../schema/trace-record.js";
import { RANGE_SIZES, type RangeSize, rangeSize } from "./range-size.js";

/** Invalidations by tasks of one name, of ranges of one size. */
export interface InvalidationRow {
  readonly comm: string;
  readonly size: RangeSize;
  readonly calls: number;
  /** Host-virtual bytes of all ranges together. */
  readonly bytes: number;
}

type MutableRow = { -readonly [Field in keyof InvalidationRow]: InvalidationRow[Field] };

/** Counts invalidations (`kvm_unmap_hva_range`). */
export class InvalidationCollector {
  readonly #rows = new Map<string, MutableRow>();

  observe(record: TraceRecord): void {
    if (record.kind !== "kvm" || record.name !== "kvm_unmap_hva_range") return;
    const { start, end } = record.fields;
    const size = rangeSize(start, end);
    const key = `${size} ${record.comm}`;
    const row = this.#rows.get(key) ?? { comm: record.comm, size, calls: 0, bytes: 0 };
    this.#rows.set(key, row);
    row.calls++;
    row.bytes += end - start;
  }

  get rows(): readonly InvalidationRow[] {
    const order = (row: InvalidationRow): number => RANGE_SIZES.indexOf(row.size);
    return [...this.#rows.values()].sort((a, b) => order(a) - order(b) || b.calls - a.calls);
  }
}
