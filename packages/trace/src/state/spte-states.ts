import {
  isLastSpte,
  isShadowPresentPte,
  kvmPagesPerHpage,
  makeRole,
  makeSmallSpte,
  type PgLevel,
  type Spte,
  type SpteFormat,
  toPgLevel,
} from "@kvm-age/spte";
import type { KvmEventFields } from "../schema/kvm-event-fields.js";
import type { TraceRecord } from "../schema/trace-record.js";
import { entryLevel } from "./entry-level.js";

/** A leaf that maps a guest frame. */
export interface KnownLeaf {
  readonly asId: number;
  /** First frame that it maps. */
  readonly gfn: number;
  readonly level: PgLevel;
  readonly spte: Spte;
}

const LEAF_LEVELS: readonly PgLevel[] = [1, 2, 3];
const ADDRESS_SPACES = 2;
const ENTRIES_PER_TABLE = 512;

/** Where the entries of one level of one address space are kept. */
interface LevelState {
  /** Last value by first gfn. Present values, and others only where a split huge page would otherwise show through. */
  readonly entries: Map<number, Spte>;
  /** Huge leaves that became tables, by first gfn: their 512 entries are made without an event each. */
  readonly split: Map<number, Spte>;
}

/**
 * The last value of every SPTE that a trace shows: per address space, first gfn and level. It follows SPTE changes, entries set by the
 * shadow MMU, splits and fast page faults. It does not see Accessed and Dirty bits that the CPU sets, nor what the shadow MMU removes, and
 * it cannot tell two roots of one address space apart. Memory grows with the number of entries seen.
 */
export class SpteStates {
  readonly #format: SpteFormat;
  readonly #tdpMmu: boolean;
  readonly #levels = new Map<number, LevelState>();

  constructor(format: SpteFormat, tdpMmu: boolean) {
    this.#format = format;
    this.#tdpMmu = tdpMmu;
  }

  apply(record: TraceRecord): void {
    if (record.kind !== "kvm") return;
    if (record.name === "kvm_tdp_mmu_spte_changed") this.#changed(record.fields);
    if (record.name === "kvm_mmu_set_spte" && !this.#tdpMmu) {
      const level = entryLevel(record.fields.level);
      if (level !== null) this.#store(0, record.fields.gfn, level, record.fields.spte as Spte);
    }
    if (record.name === "fast_page_fault" && record.fields.fixed) this.#fastFixed(record.fields);
  }

  /** Last value of an entry; null if the trace has not shown it, or has shown it go away. */
  value(asId: number, gfn: number, level: PgLevel): Spte | null {
    const known = this.#levels.get(asId * 8 + level)?.entries.get(gfn);
    if (known !== undefined) return isShadowPresentPte(known) ? known : null;
    return this.#splitChild(asId, gfn, level);
  }

  /** The leaves that are known to map a frame. */
  leavesOf(gfn: number): readonly KnownLeaf[] {
    const leaves: KnownLeaf[] = [];
    for (let asId = 0; asId < ADDRESS_SPACES; asId++) {
      for (const level of LEAF_LEVELS) {
        const first = gfn - (gfn % kvmPagesPerHpage(level));
        const spte = this.value(asId, first, level);
        if (spte !== null && isLastSpte(spte, level)) leaves.push({ asId, gfn: first, level, spte });
      }
    }
    return leaves;
  }

  /** How many leaves of a level are known to be mapped now. */
  countLeaves(level: PgLevel): number {
    let count = 0;
    for (let asId = 0; asId < ADDRESS_SPACES; asId++) {
      for (const spte of this.#levels.get(asId * 8 + level)?.entries.values() ?? []) {
        if (isShadowPresentPte(spte) && isLastSpte(spte, level)) count++;
      }
      count += this.#countSplitChildren(asId, level);
    }
    return count;
  }

  #level(asId: number, level: number): LevelState {
    const key = asId * 8 + level;
    const known = this.#levels.get(key) ?? { entries: new Map(), split: new Map() };
    this.#levels.set(key, known);
    return known;
  }

  #changed({ as_id, gfn, level, old_spte, new_spte }: KvmEventFields["kvm_tdp_mmu_spte_changed"]): void {
    const pgLevel = entryLevel(level);
    if (pgLevel === null) return;
    const [before, after] = [old_spte as Spte, new_spte as Spte];
    this.#store(as_id, gfn, pgLevel, after);
    const wasHuge = pgLevel > 1 && isShadowPresentPte(before) && isLastSpte(before, pgLevel);
    const isTable = isShadowPresentPte(after) && !isLastSpte(after, pgLevel);
    if (wasHuge && isTable) this.#level(as_id, pgLevel).split.set(gfn, before);
    else if (!isTable) this.#level(as_id, pgLevel).split.delete(gfn);
  }

  #store(asId: number, gfn: number, level: PgLevel, spte: Spte): void {
    const { entries } = this.#level(asId, level);
    const shows = isShadowPresentPte(spte) || this.#splitChild(asId, gfn, level) !== null;
    if (shows) entries.set(gfn, spte);
    else entries.delete(gfn);
  }

  /** The entry that splitting has made at this place; null if no split huge page covers it. */
  #splitChild(asId: number, gfn: number, level: PgLevel): Spte | null {
    if (level >= 3) return null;
    const parent = toPgLevel(level + 1);
    const huge = this.#levels.get(asId * 8 + parent)?.split.get(gfn - (gfn % kvmPagesPerHpage(parent)));
    if (huge === undefined) return null;
    const index = Math.floor(gfn / kvmPagesPerHpage(level)) % ENTRIES_PER_TABLE;
    const role = makeRole(this.#format.rules, { level, direct: true, access: this.#format.rules.accAll });
    return makeSmallSpte(this.#format, huge, role, index, false);
  }

  #countSplitChildren(asId: number, level: PgLevel): number {
    if (level >= 3) return 0;
    const step = kvmPagesPerHpage(level);
    const known = this.#level(asId, level).entries;
    let count = 0;
    for (const first of this.#levels.get(asId * 8 + level + 1)?.split.keys() ?? []) {
      for (let index = 0; index < ENTRIES_PER_TABLE; index++) if (!known.has(first + index * step)) count++;
    }
    return count;
  }

  /** Two-dimensional paging only: with shadow paging the event does not say which frame it is about. */
  #fastFixed({ gva, old_spte, new_spte }: KvmEventFields["fast_page_fault"]): void {
    if (this.#format.mode === "shadow") return;
    const gfn = Number(BigInt.asUintN(64, gva) >> 12n);
    const leaf = this.leavesOf(gfn).find(({ spte }) => spte === old_spte) ?? this.leavesOf(gfn)[0];
    if (leaf !== undefined) this.#store(leaf.asId, leaf.gfn, leaf.level, new_spte as Spte);
  }
}
