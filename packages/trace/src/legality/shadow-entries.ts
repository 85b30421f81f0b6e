import { isShadowPresentPte, type Spte, spteToPfn } from "@kvm-age/spte";
import type { KvmEvent, NoteRecord } from "../schema/trace-record.js";
import { isAgedFormOf } from "./aged.js";
import type { CheckContext } from "./check-context.js";
import type { DumpedEntry } from "./dumps.js";
import { blameTheOther, type Finding, hex, type OpenViolation } from "./findings.js";
import type { GuestWalks } from "./guest-walks.js";
import { judgeLetters } from "./judge-letters.js";
import { flagsOf } from "./leaf-flags.js";
import type { FaultInProgress, Task } from "./task.js";
import { judgeFastFault, judgeFaultAddress } from "./tdp-fast-faults.js";
import { framesOfEntry, roundGfn } from "./tdp-table.js";
import { valueKind } from "./value-kind.js";
import { HISTORY_LENGTH, type HistoryItem } from "./violation.js";

type SetRecord = Extract<KvmEvent, { readonly name: "kvm_mmu_set_spte" }>;
type FastFaultRecord = Extract<KvmEvent, { readonly name: "fast_page_fault" }>;

const PAGE_BYTES = 4096;
const ENTRY_BYTES = 8;
const ENTRIES = 512;
/** Entries that one fault maps ahead lie in one group of this many. */
const PREFETCHED = 8;

/** The last time an entry of the shadow MMU was shown. Zaps, aging and dirty logging change it silently. */
interface ShadowEntry {
  readonly gfn: number;
  readonly level: number;
  spte: Spte;
  line: number;
  readonly history: HistoryItem[];
}

/** A page of the shadow MMU, by its physical address. */
interface ShadowTable {
  readonly level: number;
  /** First address, in pages, that the table translates: a guest-physical one of a direct page, else a guest-linear one. */
  readonly base: number;
  line: number;
  /** Lines that have shown it. */
  readonly uses: number;
}

/** The mapping that the prefetched ones after it belong to. */
interface Mapped {
  readonly line: number;
  readonly gfn: number;
  readonly level: number;
  readonly sptep: number;
  /** The line has been found illegal. */
  readonly blamed: boolean;
}

/** Two lines that give one table different addresses. */
interface AddressDispute {
  readonly page: number;
  readonly level: number;
  readonly base: number;
  violation: OpenViolation | null;
}

function placeKey(level: number, base: number): string {
  return `${level}/${base}`;
}

/** Judges what the shadow MMU maps. It has no event for changes, so that most of what happens to its entries is not seen. */
export class ShadowEntries {
  readonly #context: CheckContext;
  readonly #walks: GuestWalks;
  readonly #entries = new Map<number, ShadowEntry>();
  readonly #tables = new Map<number, ShadowTable>();
  readonly #tableAt = new Map<string, number>();
  readonly #mapped = new Map<number, Mapped>();
  /** Line of the last event after which a page can be another table, and of the last after which an entry can hold anything. */
  #dispute: AddressDispute | null = null;
  #tablesChanged = 0;
  #entriesChanged = 0;

  constructor(context: CheckContext, walks: GuestWalks) {
    this.#context = context;
    this.#walks = walks;
  }

  /** Forgets everything. */
  clear(): void {
    for (const map of [this.#entries, this.#tables, this.#tableAt, this.#mapped]) map.clear();
  }

  /** Pages were zapped: their entries are gone, and their memory can become another table. */
  pagesChanged(line: number): void {
    [this.#tablesChanged, this.#entriesChanged] = [line, line];
  }

  /** Entries were zapped or synchronised. */
  entriesChanged(line: number): void {
    this.#entriesChanged = line;
  }

  observeSet(record: SetRecord, task: Task): void {
    this.#context.transitions++;
    const { fields, line } = record;
    const fault = task.fault;
    const mapsFault = fault !== null && fault.requestLine !== 0;
    const main = mapsFault ? null : (this.#mapped.get(record.pid) ?? null);
    const finding =
      this.#judgeRequest(record, task) ??
      this.#judgePrefetch(record, main) ??
      this.#judgeValue(record, mapsFault ? fault.access : null, main !== null) ??
      judgeLetters(this.#context.identity, fields) ??
      this.#judgePlace(record, this.#isOfFault(main)) ??
      this.#judgeLast(fields.sptep, fields.gfn, fields.spte as Spte);
    if (finding !== null) {
      const violation = this.#context.findings.report(line, finding, this.#identity(record));
      if (this.#dispute !== null) this.#dispute.violation ??= violation;
    }
    if (mapsFault)
      this.#mapped.set(record.pid, {
        line,
        gfn: fields.gfn,
        level: fields.level,
        sptep: fields.sptep,
        blamed: finding !== null,
      });
    task.fault = null;
    if (finding === null) this.#learn(record);
  }

  observeFastFault(record: FastFaultRecord, task: Task): void {
    this.#context.transitions++;
    const finding =
      judgeFaultAddress(record, task) ??
      judgeFastFault(this.#context, record, this.#context.isRacing(record), true) ??
      this.#judgeShown(record.fields.old_spte as Spte);
    if (finding !== null) this.#context.findings.report(record.line, finding);
  }

  /** A dumped entry teaches its value and is compared with the last one seen. */
  observeDump(record: NoteRecord, dumped: DumpedEntry): void {
    this.#context.transitions++;
    const { level, sptep, spte } = dumped;
    const leaf = this.#isLeaf(spte, level);
    const last = this.#entries.get(sptep);
    const finding = leaf
      ? (this.#judgeShownAt(spte, level) ?? this.#judgeDumped(last, spte))
      : this.#judgeTable(spte, level);
    if (finding !== null) {
      this.#context.findings.report(
        record.line,
        { ...finding, rule: finding.rule },
        { asId: 0, gfn: dumped.gfn, level },
      );
      return;
    }
    if (last === undefined) return;
    [last.spte, last.line] = [spte, record.line];
    this.#addHistory(last, record, "dump", spte);
  }

  #identity({ fields }: SetRecord): { asId: number; gfn: number; level: number; history: HistoryItem[] } {
    const last = this.#entries.get(fields.sptep);
    return { asId: 0, gfn: fields.gfn, level: fields.level, history: last?.history ?? [] };
  }

  /** The mapping of a fault: gfn, pfn and level are those that were asked for. A request that two other lines contradict is to blame itself. */
  #judgeRequest(record: SetRecord, task: Task): Finding | null {
    const { fields } = record;
    const { fault } = task;
    if (fault === null || fault.requestLine === 0) return null;
    const [level, gfn, pfn] = [
      fault.levels.at(-1)!.value,
      fault.gfns.at(-1)!.value,
      fault.pfns.at(-1)!.value,
    ];
    const contradicts = fault.requestLine;
    const illegal = (detail: string): Finding => ({ rule: "fault-witnesses-agree", detail, contradicts });
    if (fields.gfn !== roundGfn(gfn, fields.level)) {
      const other = this.#otherGfn(record, fault);
      if (other === null || roundGfn(other, fields.level) !== fields.gfn)
        return illegal(`gfn ${hex(fields.gfn)}, asked for ${hex(gfn)}`);
      const detail = `gfn ${hex(gfn)}, where the other lines of the fault say ${hex(other)}`;
      this.#context.findings.report(contradicts, {
        rule: "fault-witnesses-agree",
        detail,
        contradicts: record.line,
      });
      return null;
    }
    const other = this.#otherGfn(record, fault);
    if (other !== null && other !== gfn) {
      const detail = `gfn ${hex(gfn)}, where the other lines of the fault say ${hex(other)}`;
      this.#context.findings.report(contradicts, { rule: "fault-witnesses-agree", detail });
    }
    if (fields.level !== level) return illegal(`level ${fields.level}, asked for ${level}`);
    const mapped = spteToPfn(this.#context.format, fields.spte as Spte);
    if (mapped !== pfn - (pfn % framesOfEntry(level)))
      return illegal(`pfn ${hex(mapped)}, asked for ${hex(pfn)}`);
    return null;
  }

  /** What the fault's own address, or the guest's tables, say of its gfn. */
  #otherGfn(record: SetRecord, fault: FaultInProgress): number | null {
    if (this.#context.identity.mode === "shadow") return this.#walks.gfn(record.pid)?.gfn ?? null;
    return fault.gfns.length > 1 && !this.#context.identity.tdpMmu ? fault.gfns[0]!.value : null;
  }

  /** What is mapped ahead lies in the group of eight entries around the mapping of the fault. */
  #judgePrefetch({ fields }: SetRecord, main: Mapped | null): Finding | null {
    if (main === null || main.blamed) return null;
    const group = PREFETCHED * ENTRY_BYTES;
    const illegal = (detail: string): Finding => ({
      rule: "sptep-is-the-entry",
      detail,
      contradicts: main.line,
    });
    if (fields.level !== 1) return illegal(`level ${fields.level} is mapped ahead`);
    if (Math.floor(fields.sptep / group) !== Math.floor(main.sptep / group))
      return illegal(`${hex(fields.sptep)} is not near ${hex(main.sptep)}`);
    if (
      !this.#isDirect() ||
      this.#context.identity.tdpMmu ||
      fields.gfn - main.gfn === (fields.sptep - main.sptep) / ENTRY_BYTES
    )
      return null;
    return illegal(
      `gfn ${hex(fields.gfn)} at ${hex(fields.sptep)}, and ${hex(main.gfn)} at ${hex(main.sptep)}`,
    );
  }

  #isDirect(): boolean {
    return this.#context.identity.mode !== "shadow";
  }

  #judgeValue({ fields }: SetRecord, access: number | null, prefetch: boolean): Finding | null {
    const spte = fields.spte as Spte;
    const { format, shadowingFlags, directFlags } = this.#context;
    const flags = this.#isDirect() && !this.#context.identity.tdpMmu ? directFlags : shadowingFlags;
    if (spteToPfn(format, spte) % framesOfEntry(fields.level) !== 0)
      return {
        rule: "reserved-bits",
        detail: `${hex(spte)}: the frame is not aligned for level ${fields.level}`,
      };
    const made = flags.made({ level: fields.level, access, prefetch });
    // The event shows the entry as it is when it is printed.
    if (made.has(flagsOf(format, spte)) || isAgedFormOf(format, flagsOf(format, spte), made)) return null;
    return {
      rule: "leaf-is-made-by-the-kernel",
      detail: `no fault makes ${hex(spte)}${prefetch ? " ahead" : ""}`,
    };
  }

  /** Whether the line maps the page of a fault; where requests are not traced, nothing tells it from those mapped ahead. */
  #isOfFault(main: Mapped | null): boolean {
    return main === null && this.#context.seen.has("kvm_mmu_spte_requested");
  }

  /** The address of the entry fits its index, and its page is the table that it was. */
  #judgePlace({ fields, pid }: SetRecord, ofFault: boolean): Finding | null {
    const { sptep, level, gfn } = fields;
    // A nested guest's own addresses are not known.
    if (this.#context.identity.tdpMmu) return null;
    const walk = this.#isDirect() ? null : this.#walks.address(pid);
    if (!this.#isDirect() && (walk === null || !ofFault)) return null;
    const page = walk === null ? gfn : Number(BigInt.asUintN(48, walk.address) / BigInt(PAGE_BYTES));
    const index = Math.floor(page / framesOfEntry(level)) % ENTRIES;
    if (sptep % PAGE_BYTES !== index * ENTRY_BYTES)
      return { rule: "sptep-is-the-entry", detail: `${hex(sptep)} is not entry ${index} of a table` };
    if (!this.#context.pageLivesSeen) return null;
    return this.#judgeSameTable(Math.floor(sptep / PAGE_BYTES), level, roundGfn(page, level + 1));
  }

  #judgeSameTable(page: number, level: number, base: number): Finding | null {
    if (this.#settleDispute(page, level, base)) return null;
    const table = this.#tables.get(page);
    const illegal = (detail: string, contradicts: number): Finding => ({
      rule: "sptep-is-the-entry",
      detail,
      contradicts,
    });
    if (
      table !== undefined &&
      table.line >= this.#tablesChanged &&
      (table.level !== level || table.base !== base)
    )
      return illegal(
        `the page ${hex(page)} is a table of level ${table.level} for page ${hex(table.base)}`,
        table.line,
      );
    const at = this.#tableAt.get(placeKey(level, base));
    const known = at === undefined ? undefined : this.#tables.get(at);
    if (at === undefined || at === page || known === undefined || known.line < this.#tablesChanged)
      return null;
    if (known.uses === 1) this.#dispute = { page, level, base, violation: null };
    return illegal(
      `page ${hex(base)} is translated at level ${level} by the table ${hex(at)}, not ${hex(page)}`,
      known.line,
    );
  }

  /** Two lines disagreed about the address of a table: this one decides. True if it agrees with the later one. */
  #settleDispute(page: number, level: number, base: number): boolean {
    const dispute = this.#dispute;
    if (dispute === null || dispute.level !== level || dispute.base !== base) return false;
    this.#dispute = null;
    if (dispute.page !== page) return false;
    if (dispute.violation !== null) blameTheOther(dispute.violation);
    this.#tableAt.delete(placeKey(level, base));
    return true;
  }

  /** Whether the entry must still be the leaf that it was: the trace shows what removes leaves, and nothing has. */
  #holds({ line, spte, level }: ShadowEntry): boolean {
    const shown = this.#context.seen.has("kvm_unmap_hva_range");
    return shown && line >= this.#entriesChanged && this.#isLeaf(spte, level);
  }

  /** Without anything that removes entries, a mapping keeps its page. */
  #judgeLast(sptep: number, gfn: number, spte: Spte): Finding | null {
    const last = this.#entries.get(sptep);
    if (last === undefined || !this.#holds(last)) return null;
    if (
      last.gfn === gfn &&
      spteToPfn(this.#context.format, last.spte) === spteToPfn(this.#context.format, spte)
    )
      return null;
    return {
      rule: "no-pfn-change-in-place",
      detail: `${hex(last.spte)} of gfn ${hex(last.gfn)} becomes ${hex(spte)} of gfn ${hex(gfn)}`,
      contradicts: last.line,
    };
  }

  #isLeaf(spte: Spte, level: number): boolean {
    return valueKind(this.#context.format, spte, level) === "leaf";
  }

  #judgeShown(spte: Spte): Finding | null {
    return isShadowPresentPte(spte) ? this.#judgeShownAt(spte, (spte & 0x80n) === 0n ? 1 : 2) : null;
  }

  #judgeShownAt(spte: Spte, level: number): Finding | null {
    const flags = this.#isDirect() ? this.#context.directFlags : this.#context.shadowingFlags;
    if (flags.isPossible(spte, level)) return null;
    return {
      rule: "entry-value-is-a-kernel-value",
      detail: `no operation makes a leaf with the flags of ${hex(spte)}`,
    };
  }

  #judgeDumped(last: ShadowEntry | undefined, spte: Spte): Finding | null {
    if (last === undefined || !this.#holds(last)) return null;
    if (spteToPfn(this.#context.format, last.spte) === spteToPfn(this.#context.format, spte)) return null;
    return {
      rule: "dump-shows-the-state",
      detail: `${hex(spte)}, where line ${last.line} left ${hex(last.spte)}`,
      contradicts: last.line,
    };
  }

  #judgeTable(spte: Spte, level: number): Finding | null {
    return isShadowPresentPte(spte) ? this.#context.changes.judgeValue(spte, 0, level) : null;
  }

  #learn(record: SetRecord): void {
    const { fields, line, pid } = record;
    const page = Math.floor(fields.sptep / PAGE_BYTES);
    const walk = this.#isDirect() ? null : this.#walks.address(pid);
    if (
      (this.#isDirect() && !this.#context.identity.tdpMmu) ||
      (walk !== null && this.#mapped.get(pid)?.line === line)
    ) {
      const first =
        walk === null ? fields.gfn : Number(BigInt.asUintN(48, walk.address) / BigInt(PAGE_BYTES));
      const base = roundGfn(first, fields.level + 1);
      const known = this.#tables.get(page);
      const uses =
        known !== undefined && known.base === base && known.level === fields.level ? known.uses : 0;
      this.#tables.set(page, { level: fields.level, base, line, uses: uses + 1 });
      this.#tableAt.set(placeKey(fields.level, base), page);
    }
    const old = this.#entries.get(fields.sptep);
    const entry = {
      gfn: fields.gfn,
      level: fields.level,
      spte: fields.spte as Spte,
      line,
      history: old?.history ?? [],
    };
    this.#entries.set(fields.sptep, entry);
    this.#addHistory(entry, record, record.name, entry.spte);
  }

  #addHistory(
    entry: ShadowEntry,
    { line, timestampNs, comm, pid }: SetRecord | NoteRecord,
    event: string,
    newSpte: Spte,
  ): void {
    entry.history.push({ line, timestampNs, comm, pid, event, oldSpte: null, newSpte });
    if (entry.history.length > HISTORY_LENGTH) entry.history.shift();
  }
}
