import type { KvmMmuPageFields } from "../schema/kvm-event-fields.js";
import type { KvmEvent, TraceRecord } from "../schema/trace-record.js";

/** Page-table pages of one level: of two-dimensional paging or other direct mappings, or shadowing tables of a guest. */
export interface TablePageRow {
  readonly level: number;
  readonly direct: boolean;
  readonly created: number;
  /** Found in use already (`existing`). */
  readonly found: number;
  readonly zapped: number;
  readonly unsynced: number;
  readonly synced: number;
}

/** What a trace shows of page-table pages. */
export interface TablePageSummary {
  /** From the highest level down. */
  readonly rows: readonly TablePageRow[];
  /** `kvm_mmu_zap_all_fast`. */
  readonly zapAllFast: number;
  /** Huge pages split, and splits that lost a race, found no memory or failed otherwise (`kvm_mmu_split_huge_page`). */
  readonly splits: {
    readonly done: number;
    readonly lostRace: number;
    readonly noMemory: number;
    readonly otherError: number;
  };
  /** Walks of guest page tables, and what they did there. */
  readonly guestWalks: {
    readonly walks: number;
    readonly faults: number;
    readonly accessedSet: number;
    readonly dirtySet: number;
  };
}

type MutableRow = { -readonly [Field in keyof TablePageRow]: TablePageRow[Field] };
type Counts<Group> = { -readonly [Field in keyof Group]: number };
type CountField = "created" | "found" | "zapped" | "unsynced" | "synced";

const EBUSY = -16;
const ENOMEM = -12;

/** Counts page-table pages, splits and guest walks. */
export class TablePageCollector {
  readonly #rows = new Map<string, MutableRow>();
  readonly #splits: Counts<TablePageSummary["splits"]> = { done: 0, lostRace: 0, noMemory: 0, otherError: 0 };
  readonly #walks: Counts<TablePageSummary["guestWalks"]> = {
    walks: 0,
    faults: 0,
    accessedSet: 0,
    dirtySet: 0,
  };
  #zapAllFast = 0;

  observe(record: TraceRecord): void {
    if (record.kind !== "kvm") return;
    this.#observePage(record);
    this.#observeWalk(record.name);
    if (record.name === "kvm_mmu_zap_all_fast") this.#zapAllFast++;
    if (record.name === "kvm_mmu_split_huge_page") this.#countSplit(record.fields.errno);
  }

  #observePage(event: KvmEvent): void {
    switch (event.name) {
      case "kvm_mmu_get_page":
        this.#count(event.fields, event.fields.created ? "created" : "found");
        break;
      case "kvm_mmu_prepare_zap_page":
        this.#count(event.fields, "zapped");
        break;
      case "kvm_mmu_unsync_page":
        this.#count(event.fields, "unsynced");
        break;
      case "kvm_mmu_sync_page":
        this.#count(event.fields, "synced");
        break;
    }
  }

  #observeWalk(name: KvmEvent["name"]): void {
    if (name === "kvm_mmu_pagetable_walk") this.#walks.walks++;
    if (name === "kvm_mmu_walker_error") this.#walks.faults++;
    if (name === "kvm_mmu_set_accessed_bit") this.#walks.accessedSet++;
    if (name === "kvm_mmu_set_dirty_bit") this.#walks.dirtySet++;
  }

  get summary(): TablePageSummary {
    const rows = [...this.#rows.values()];
    return {
      rows: rows.sort((a, b) => b.level - a.level || Number(b.direct) - Number(a.direct)),
      zapAllFast: this.#zapAllFast,
      splits: { ...this.#splits },
      guestWalks: { ...this.#walks },
    };
  }

  #count({ level, direct }: KvmMmuPageFields, field: CountField): void {
    const key = `${level} ${direct}`;
    const row = this.#rows.get(key) ?? {
      level,
      direct,
      created: 0,
      found: 0,
      zapped: 0,
      unsynced: 0,
      synced: 0,
    };
    this.#rows.set(key, row);
    row[field]++;
  }

  #countSplit(errno: number): void {
    if (errno === 0) this.#splits.done++;
    else if (errno === EBUSY) this.#splits.lostRace++;
    else if (errno === ENOMEM) this.#splits.noMemory++;
    else this.#splits.otherError++;
  }
}
