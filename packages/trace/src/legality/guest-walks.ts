import type { KvmEvent } from "../schema/trace-record.js";
import type { CheckContext } from "./check-context.js";
import { type Finding, hex } from "./findings.js";

const ADDRESS_MASK = 0x000ffffffffff000n;
const PAGE_SIZE_BIT = 0x80n;
const INDEX_BITS = 9n;
const ENTRY_BYTES = 8n;
/** Levels of the tables in long mode; fewer have entries or a root of another form. */
const LONG_MODE_LEVEL = 4;

/** A walk of a 64-bit guest's tables. */
interface Walk {
  readonly line: number;
  readonly address: bigint;
  /** Guest-physical address of the entry met, by level; the root's is unknown. */
  readonly entries: Map<bigint, number>;
  /** Address of the table below the last entry; null at the end of the walk. */
  table: bigint | null;
  level: number;
  /** Tables of another form than 64-bit ones, or walks inside walks: only the address is used. */
  opaque: boolean;
  /** The gfn that the last entry and the address lead to; null before the end of the walk. */
  gfn: number | null;
}

function index(address: bigint, level: number): bigint {
  return BigInt.asUintN(9, BigInt.asUintN(64, address) >> (12n + INDEX_BITS * BigInt(level - 1)));
}

/** Follows walks of guest page tables, one for each task. Guests with 32-bit tables are not judged. */
export class GuestWalks {
  readonly #context: CheckContext;
  readonly #walks = new Map<number, Walk>();

  constructor(context: CheckContext) {
    this.#context = context;
  }

  /** The gfn that the task's last complete walk led to; null without one. */
  gfn(pid: number): { gfn: number; line: number } | null {
    const walk = this.#walks.get(pid);
    return walk === undefined || walk.gfn === null ? null : { gfn: walk.gfn, line: walk.line };
  }

  /** The walk's address; null without a walk. */
  address(pid: number): { address: bigint; line: number } | null {
    const walk = this.#walks.get(pid);
    return walk === undefined ? null : { address: walk.address, line: walk.line };
  }

  /** The gfn of the table of the level that the walk went through; null if it is not known. */
  tableGfn(pid: number, level: number): number | null {
    const walk = this.#walks.get(pid);
    if (walk === undefined || walk.opaque) return null;
    for (const [gpa, entryLevel] of walk.entries) if (entryLevel === level) return Number(gpa / 4096n);
    return null;
  }

  /** The level of the table at the gfn, if the walk went through just one there; else null. */
  levelOfTable(pid: number, gfn: number): number | null {
    const walk = this.#walks.get(pid);
    if (walk === undefined || walk.opaque) return null;
    const levels = [...walk.entries].filter(([gpa]) => Number(gpa / 4096n) === gfn).map(([, level]) => level);
    return levels.length === 1 ? levels[0]! : null;
  }

  forget(pid: number): void {
    this.#walks.delete(pid);
  }

  observe(event: KvmEvent): void {
    if (event.name === "kvm_mmu_pagetable_walk") {
      this.#begin(event.pid, event.line, event.fields.addr);
    } else if (event.name === "kvm_mmu_paging_element") this.#element(event);
    else if (event.name === "kvm_mmu_set_accessed_bit" || event.name === "kvm_mmu_set_dirty_bit")
      this.#marked(event);
  }

  /** A walk that begins before the last one has ended is one of a nested guest's. */
  #begin(pid: number, line: number, address: bigint): void {
    const outer = this.#walks.get(pid);
    const opaque = outer !== undefined && outer.level > 1 && outer.gfn === null;
    this.#walks.set(pid, { line, address, entries: new Map(), table: null, level: 0, opaque, gfn: null });
  }

  #element(event: Extract<KvmEvent, { readonly name: "kvm_mmu_paging_element" }>): void {
    const walk = this.#walks.get(event.pid);
    if (walk === undefined) return;
    const { pte, level } = event.fields;
    if (walk.level === 0 && level < LONG_MODE_LEVEL) walk.opaque = true;
    // Entries after the last one belong to a walk of a nested guest's tables, which is not announced.
    if (walk.gfn !== null) walk.opaque = true;
    if (walk.opaque) return;
    if (walk.level !== 0 && level !== walk.level - 1) {
      this.#report(event.line, {
        rule: "guest-walk-descends",
        detail: `level ${level} after level ${walk.level}`,
        contradicts: walk.line,
      });
      this.#walks.delete(event.pid);
      return;
    }
    if (walk.table !== null) walk.entries.set(walk.table + index(walk.address, level) * ENTRY_BYTES, level);
    walk.level = level;
    const large = level > 1 && BigInt.asUintN(64, pte & PAGE_SIZE_BIT) !== 0n;
    if (level === 1 || large) this.#end(walk, pte, level);
    else walk.table = BigInt.asUintN(64, pte & ADDRESS_MASK);
  }

  #end(walk: Walk, pte: bigint, level: number): void {
    const size = 1n << (12n + INDEX_BITS * BigInt(level - 1));
    const base = BigInt.asUintN(64, pte & ADDRESS_MASK & ~(size - 1n));
    walk.table = null;
    walk.gfn = Number((base + (walk.address & (size - 1n))) / 4096n);
  }

  /** Accessed and Dirty are set in entries of the walk; where the root lies is not printed. */
  #marked(
    event: Extract<KvmEvent, { readonly name: "kvm_mmu_set_accessed_bit" | "kvm_mmu_set_dirty_bit" }>,
  ): void {
    const walk = this.#walks.get(event.pid);
    if (walk === undefined || walk.opaque || walk.gfn === null) return;
    const gpa = BigInt(event.fields.gpa);
    if (walk.entries.has(gpa)) return;
    const top = index(walk.address, walk.entries.size + 1) * ENTRY_BYTES;
    if (gpa % 4096n === top) return;
    const detail = `guest-physical ${hex(gpa)} is no entry that the walk of ${hex(walk.address)} met`;
    this.#report(event.line, { rule: "guest-walk-descends", detail, contradicts: walk.line });
  }

  /** Only with shadow paging do all walks go over tables that the events show whole. */
  #report(line: number, finding: Finding): void {
    if (this.#context.identity.mode === "shadow") this.#context.findings.report(line, finding);
  }
}
