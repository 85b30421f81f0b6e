import { isShadowPresentPte, type Spte } from "@kvm-age/spte";
import type { KvmMmuPageFields } from "../schema/kvm-event-fields.js";
import type { TraceRecord } from "../schema/trace-record.js";
import type { CheckContext } from "./check-context.js";
import { hex } from "./findings.js";
import { differingBits } from "./hardware-change.js";
import { type EntryPlace, explains } from "./locate-entry.js";
import type { Task, Teardown } from "./task.js";
import { type EntryState, framesOfEntry, roundGfn, type TdpTable } from "./tdp-table.js";

const ENTRIES = 512;

/** Which page is meant. */
interface PagePlace {
  readonly level: number;
  readonly gfn: number;
}

function isOneBitAway(one: PagePlace, other: PagePlace): boolean {
  return (
    differingBits(BigInt(one.gfn), BigInt(other.gfn)) +
      differingBits(BigInt(one.level), BigInt(other.level)) ===
    1
  );
}

function covers(teardown: Teardown, place: EntryPlace): boolean {
  return teardown.level === place.level && teardown.gfn === roundGfn(place.gfn, place.level + 1);
}

function indexIn(teardown: Teardown, gfn: number): number {
  return (gfn - teardown.gfn) / framesOfEntry(teardown.level);
}

/** Follows the teardown of tables of the TDP MMU: `kvm_mmu_prepare_zap_page`, then the entries, one by one. */
export class Teardowns {
  readonly #context: CheckContext;

  constructor(context: CheckContext) {
    this.#context = context;
  }

  /** `kvm_mmu_prepare_zap_page` of a page of the TDP MMU. */
  begin(record: TraceRecord, page: KvmMmuPageFields, task: Task): void {
    this.#rightOuter(page, task);
    const due = this.#dueTable(record, task, page);
    const place: PagePlace = due ?? { level: page.level, gfn: page.gfn };
    const isDue = due === null ? this.#exists(place) : due.level === page.level && due.gfn === page.gfn;
    const blamed = !isDue && this.#knowsTables;
    if (blamed) {
      const detail = `a table of level ${page.level} at gfn ${hex(page.gfn)} is torn down, but it is not linked here`;
      this.#context.findings.report(record.line, { rule: "zapped-page-was-in-use", detail });
    }
    const table = due ?? (blamed ? null : this.#onlyTable(place));
    task.unlinked = null;
    task.teardown.push({
      line: record.line,
      level: place.level,
      gfn: place.gfn,
      table,
      last: -1,
      blamed,
      shared: false,
    });
  }

  /** Whether the trace shows all tables that there are. */
  get #knowsTables(): boolean {
    return this.#context.tdpMmuKnown && !this.#context.treesFromBefore;
  }

  /** The table whose turn it is, where the events before say which one; else null. */
  #dueTable(record: TraceRecord, task: Task, page: KvmMmuPageFields): TdpTable | null {
    if (task.unlinked !== null) return task.unlinked;
    this.#popTo(record, task, ({ level, table }) => table === null || level === page.level + 1);
    const outer = task.teardown.at(-1);
    if (outer === undefined || outer.table === null) return null;
    for (let index = outer.last + 1; index < ENTRIES; index++) {
      const child = outer.table.entries.get(index)?.child ?? null;
      if (child !== null) return child;
    }
    return null;
  }

  /** Ends the innermost teardowns up to one that is wanted; does nothing if none is. */
  #popTo(record: TraceRecord, task: Task, isWanted: (teardown: Teardown) => boolean): void {
    if (!task.teardown.some(isWanted)) return;
    while (!isWanted(task.teardown.at(-1)!)) this.#finish(record, task.teardown.pop()!);
  }

  /** Where an entry that becomes frozen must be; reports it if the event says something else. */
  position(record: TraceRecord, task: Task, place: EntryPlace, oldSpte: Spte): EntryPlace {
    this.#rightPage(place, task, oldSpte);
    const isCovered = task.teardown.some((teardown) => covers(teardown, place));
    if (!isCovered && this.#isExhausted(task.teardown.at(-1)) && task.teardown.length > 1)
      this.#finish(record, task.teardown.pop()!);
    this.#popTo(record, task, (teardown) =>
      isCovered ? covers(teardown, place) : teardown.level === place.level,
    );
    const top = task.teardown.at(-1);
    if (top === undefined) return place;
    if (!covers(top, place))
      return this.#misplaced(record, top, place, oldSpte, "is not in the table that is torn down");
    const skipped = this.#skippedIndex(top, indexIn(top, place.gfn));
    if (skipped === null) return place;
    return this.#misplaced(record, top, place, oldSpte, skipped);
  }

  /** Notes that an entry was frozen. */
  froze(task: Task, entry: EntryState, oldSpte: Spte): void {
    const top = task.teardown.at(-1);
    if (top === undefined || top.level !== entry.table.level || top.gfn !== entry.table.gfn) return;
    top.table ??= entry.table;
    top.last = entry.index;
    if (!isShadowPresentPte(oldSpte)) top.shared = true;
  }

  /** Any event of the task that freezes nothing ends what it was tearing down. */
  end(record: TraceRecord, task: Task): void {
    while (task.teardown.length > 0) this.#finish(record, task.teardown.pop()!);
  }

  /** If the entries do not lie in the page that was announced, but in one a bit away from it, the announcement was wrong. */
  #rightPage(place: EntryPlace, task: Task, oldSpte: Spte): void {
    if (task.teardown.some((teardown) => covers(teardown, place))) return;
    const [level, gfn] = [place.level, roundGfn(place.gfn, place.level + 1)];
    const table = this.#onlyTable({ level, gfn });
    if (table === null || place.gfn % framesOfEntry(level) !== 0) return;
    if (!explains(this.#context, table.entry(table.indexOf(place.gfn)), oldSpte)) return;
    const wrong = task.teardown.findIndex(
      (teardown) => teardown.last === -1 && (teardown.blamed || isOneBitAway(teardown, { level, gfn })),
    );
    if (wrong >= 0) this.#replace(task, wrong, table);
  }

  /** If the page is no child of the one announced before it, but of one a bit away from that, the first announcement was wrong. */
  #rightOuter(page: KvmMmuPageFields, task: Task): void {
    const outer = task.teardown.at(-1);
    const parent = this.#onlyTable(page)?.parent?.table ?? null;
    if (outer === undefined || parent === null || outer.last !== -1 || outer.table === parent) return;
    if (outer.blamed || isOneBitAway(outer, parent)) this.#replace(task, task.teardown.length - 1, parent);
  }

  #replace(task: Task, index: number, table: TdpTable): void {
    const teardown = task.teardown[index]!;
    const { level, gfn } = table;
    const detail = `a page of level ${teardown.level} at gfn ${hex(teardown.gfn)}, followed by entries of level ${level} from gfn ${hex(gfn)}`;
    this.#context.findings.report(teardown.line, { rule: "zapped-page-was-in-use", detail });
    task.teardown[index] = { ...teardown, level, gfn, table, blamed: false };
  }

  /** Whether no entry is left to be frozen. */
  #isExhausted(teardown: Teardown | undefined): boolean {
    if (teardown === undefined || teardown.table === null) return false;
    if (teardown.shared) return teardown.last === ENTRIES - 1;
    for (const { index, value } of teardown.table.entries.values())
      if (index > teardown.last && value !== null && isShadowPresentPte(value)) return false;
    return true;
  }

  /** Says what is wrong with going on at `index`; null if it is right. */
  #skippedIndex(top: Teardown, index: number): string | null {
    if (index <= top.last) return "was passed already";
    const { table } = top;
    for (let between = top.last + 1; between < index; between++) {
      const value =
        table === null || table.entries.get(between)?.doubtful === true ? null : table.peek(between);
      if (top.shared || (value !== null && isShadowPresentPte(value)))
        return `comes before entry ${between} was frozen`;
    }
    return null;
  }

  #misplaced(
    record: TraceRecord,
    top: Teardown,
    place: EntryPlace,
    oldSpte: Spte,
    problem: string,
  ): EntryPlace {
    const detail = `the entry of gfn ${hex(place.gfn)} at level ${place.level} ${problem}`;
    this.#context.findings.report(
      record.line,
      { rule: "teardown-order", detail, contradicts: top.line },
      place,
    );
    const index = this.#nextIndex(top, oldSpte);
    return {
      asId: top.table?.asId ?? place.asId,
      level: top.level,
      gfn: top.gfn + index * framesOfEntry(top.level),
    };
  }

  /** The entry that was due. */
  #nextIndex(top: Teardown, oldSpte: Spte): number {
    if (top.table === null || top.shared) return Math.min(top.last + 1, ENTRIES - 1);
    for (let index = top.last + 1; index < ENTRIES; index++) {
      const value = top.table.peek(index);
      if (
        value !== null &&
        isShadowPresentPte(value) &&
        explains(this.#context, top.table.entry(index), oldSpte)
      )
        return index;
    }
    return Math.min(top.last + 1, ENTRIES - 1);
  }

  #finish(record: TraceRecord, teardown: Teardown): void {
    const { table } = teardown;
    if (table === null) return;
    this.#complain(record, teardown, table);
    // Where the parent's event comes first, this was the last that the table was heard of.
    if (this.#context.format.rules.tdpTeardownOrder === "after-event") this.#context.tables.remove(table);
  }

  #complain(record: TraceRecord, teardown: Teardown, table: TdpTable): void {
    if (!this.#knowsTables) return;
    for (const entry of table.entries.values()) {
      if (entry.index <= teardown.last || entry.value === null || !isShadowPresentPte(entry.value)) continue;
      if (entry.doubtful || entry.early !== null) continue;
      const detail = `entry ${entry.index} still holds ${hex(entry.value)} although the task goes on`;
      this.#context.findings.report(
        record.line,
        { rule: "teardown-is-complete", detail, contradicts: entry.line },
        entry,
      );
      return;
    }
  }

  #exists({ level, gfn }: PagePlace): boolean {
    return this.#tablesAt(level, gfn).length > 0;
  }

  #tablesAt(level: number, gfn: number): readonly TdpTable[] {
    if (gfn !== roundGfn(gfn, level + 1)) return [];
    return [0, 1].flatMap((asId) => this.#context.tables.covering(asId, level, gfn));
  }

  /** The table, where only one can be meant. */
  #onlyTable({ level, gfn }: PagePlace): TdpTable | null {
    const tables = this.#tablesAt(level, gfn);
    return tables.length === 1 ? tables[0]! : null;
  }
}
