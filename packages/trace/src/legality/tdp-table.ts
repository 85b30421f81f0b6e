import { isShadowPresentPte, SHADOW_NONPRESENT_VALUE, type Spte } from "@kvm-age/spte";
import type { OpenViolation } from "./findings.js";
import { type EntryIdentity, HISTORY_LENGTH, type HistoryItem } from "./violation.js";

/** Frames that one entry of a table of the given level covers. */
export function framesOfEntry(level: number): number {
  return 2 ** (9 * (level - 1));
}

/** First of the frames that share an entry of the given level with the gfn. */
export function roundGfn(gfn: number, level: number): number {
  const frames = framesOfEntry(level);
  return Math.floor(gfn / frames) * frames;
}

/** A change whose old value is not the last one: the change in between may follow in the trace. */
export interface EarlyChange {
  readonly line: number;
  readonly pid: number;
  readonly timestampNs: number;
  readonly oldSpte: Spte;
  /** Equal to `oldSpte` if the line only showed a value. */
  readonly newSpte: Spte;
}

/** What is known of one entry. */
export class EntryState {
  readonly table: TdpTable;
  readonly index: number;
  /** The last value seen; null before the first. */
  value: Spte | null;
  /** Line that the value stands in; 0 if it follows from the creation of the table. */
  line = 0;
  /** A line about this entry was wrong, so that the next value is believed whatever it is. */
  doubtful = false;
  /** A change that may have been printed before the one it follows, by another task. */
  early: EarlyChange | null = null;
  /** A line showed another value than the one before: the next line decides which is wrong. */
  dispute: { readonly violation: OpenViolation; readonly candidate: Spte } | null = null;
  /** The table that the entry points to. */
  child: TdpTable | null = null;
  readonly history: HistoryItem[] = [];

  constructor(table: TdpTable, index: number, value: Spte | null) {
    this.table = table;
    this.index = index;
    this.value = value;
  }

  get identity(): EntryIdentity {
    const { asId, level, gfn } = this.table;
    return { asId, level, gfn: gfn + this.index * framesOfEntry(level) };
  }

  /** Takes a value over from a line. */
  learn(value: Spte, line: number): void {
    if (this.value !== value) this.line = line;
    this.value = value;
    this.doubtful = false;
  }

  remember(item: HistoryItem): void {
    this.history.push(item);
    if (this.history.length > HISTORY_LENGTH) this.history.shift();
  }
}

/** What the entries of a table hold of which nobody told anything yet. */
export type InitialEntries =
  | { readonly kind: "empty" }
  /** Children of a split huge page: the values that `make_small_spte` may have made of it, by index. */
  | { readonly kind: "split"; readonly of: (index: number) => Spte }
  | { readonly kind: "unknown" };

/** One page table of the TDP MMU. */
export class TdpTable {
  readonly asId: number;
  readonly level: number;
  /** First gfn that the table covers. */
  readonly gfn: number;
  readonly initial: InitialEntries;
  readonly parent: EntryState | null;
  /** Physical address; null until something names it. */
  address: number | null = null;
  /** Line that the address comes from. */
  addressLine = 0;
  /** Line that created the page; 0 if none was seen. */
  createdLine = 0;
  /** A root that `kvm_mmu_zap_all_fast` gave up. */
  obsolete = false;
  /** Some entry has been present. */
  used = false;
  /** The first present leaf that its teardown froze. */
  firstFrozenLeaf: Spte | null = null;
  readonly entries: Map<number, EntryState> = new Map();

  constructor(asId: number, level: number, gfn: number, initial: InitialEntries, parent: EntryState | null) {
    this.asId = asId;
    this.level = level;
    this.gfn = gfn;
    this.initial = initial;
    this.parent = parent;
  }

  /** The state of entry `index`, 0 to 511. */
  entry(index: number): EntryState {
    let entry = this.entries.get(index);
    if (entry === undefined) {
      entry = new EntryState(this, index, this.#initialValue(index));
      this.entries.set(index, entry);
    }
    return entry;
  }

  /** The value of entry `index` without creating a state for it; null if unknown. */
  peek(index: number): Spte | null {
    const entry = this.entries.get(index);
    return entry === undefined ? this.#initialValue(index) : entry.value;
  }

  /** Whether no entry is known to be present. */
  get isEmpty(): boolean {
    for (const { value } of this.entries.values())
      if (value !== null && isShadowPresentPte(value)) return false;
    return true;
  }

  /** The table on top of its tree, as far as the tree is known. */
  get root(): TdpTable {
    let top: TdpTable = this;
    while (top.parent !== null) top = top.parent.table;
    return top;
  }

  indexOf(gfn: number): number {
    return (gfn - this.gfn) / framesOfEntry(this.level);
  }

  #initialValue(index: number): Spte | null {
    if (this.initial.kind === "empty") return SHADOW_NONPRESENT_VALUE;
    return this.initial.kind === "split" ? this.initial.of(index) : null;
  }
}
