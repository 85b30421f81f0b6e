import type { Spte } from "@kvm-age/spte";
import type { NoteRecord } from "../schema/trace-record.js";
import type { CheckContext } from "./check-context.js";
import { blameTheOther, type Finding, hex, lastLeft } from "./findings.js";
import { isHardwareChange } from "./hardware-change.js";
import { entriesAt, explains } from "./locate-entry.js";
import { type EntryState, framesOfEntry, roundGfn } from "./tdp-table.js";

const DUMPED_ENTRY = /^agevm: spte level=(\d) gfn=([0-9a-f]+) sptep=([0-9a-f]+) val=([0-9a-f]+) /;
const PAGE_BYTES = 4096;
const ENTRY_BYTES = 8;

/** One entry as a recording VMM walked it from physical memory and noted it down. */
export interface DumpedEntry {
  readonly level: number;
  readonly gfn: number;
  readonly sptep: number;
  readonly spte: Spte;
}

/** Reads a note; null if it is no dumped entry. */
export function parseDumpedEntry(note: NoteRecord): DumpedEntry | null {
  const match = DUMPED_ENTRY.exec(note.text);
  if (match === null) return null;
  const [, level, gfn, sptep, spte] = match as unknown as [string, string, string, string, string];
  return {
    level: Number(level),
    gfn: Number.parseInt(gfn, 16),
    sptep: Number.parseInt(sptep, 16),
    spte: BigInt.asUintN(64, BigInt(`0x${spte}`)) as Spte,
  };
}

/** Compares dumps of the TDP MMU's tables with what the events led to. */
export class TdpDumps {
  readonly #context: CheckContext;

  constructor(context: CheckContext) {
    this.#context = context;
  }

  observe(record: NoteRecord, { level, gfn, sptep, spte }: DumpedEntry): void {
    this.#context.transitions++;
    if (!this.#context.tdpMmuKnown) return;
    const aligned = roundGfn(gfn, level);
    const entry = entriesAt(this.#context, { asId: 0, gfn: aligned, level }).find(
      ({ table }) => !table.obsolete,
    );
    if (entry === undefined) {
      if (this.#context.treesFromBefore || this.#context.tables.roots.length === 0) return;
      const detail = `no table of level ${level} covers gfn ${hex(gfn)}`;
      this.#context.findings.report(record.line, { rule: "dump-shows-the-state", detail });
      return;
    }
    this.#settle(entry, spte);
    const finding = this.#judge(entry, { level, gfn, sptep, spte });
    if (finding === null) {
      this.#learn(record, entry, { level, gfn, sptep, spte });
      return;
    }
    const violation = this.#context.findings.report(record.line, finding, entry);
    if (violation !== null && finding.contradicts === entry.line)
      entry.dispute = { violation, candidate: spte };
    entry.doubtful = true;
    // Which of two addresses a table has, its entries show.
    if (entry.child !== null) entry.child.address = null;
  }

  /** Of two lines that contradicted each other, the one that this line does not repeat was wrong. */
  #settle(entry: EntryState, spte: Spte): void {
    const { dispute } = entry;
    entry.dispute = null;
    if (dispute !== null && isHardwareChange(this.#context.format, dispute.candidate, spte, true))
      blameTheOther(dispute.violation);
  }

  #judge(entry: EntryState, { level, gfn, sptep, spte }: DumpedEntry): Finding | null {
    const wrong = (detail: string, contradicts: number): Finding => ({
      rule: "dump-shows-the-state",
      detail,
      contradicts,
    });
    const { table, index, line, value } = entry;
    if (gfn % framesOfEntry(level) !== 0)
      return wrong(`gfn ${hex(gfn)} is not aligned for level ${level}`, 0);
    if (!entry.doubtful && !this.#explains(entry, spte))
      return wrong(`${hex(spte)}, ${lastLeft(line, value ?? 0n)}`, line);
    const address = sptep - index * ENTRY_BYTES;
    const isTable = table.address === null || table.address === address || !this.#context.newPagesSeen;
    if (address % PAGE_BYTES === 0 && isTable) return null;
    return wrong(`entry ${index} shows at ${hex(sptep)}`, table.addressLine);
  }

  #explains(entry: EntryState, spte: Spte): boolean {
    if (explains(this.#context, entry, spte)) return true;
    return entry.value !== null && this.#context.isUnseenFastFault(entry.value, spte);
  }

  #learn(record: NoteRecord, entry: EntryState, { sptep, spte }: DumpedEntry): void {
    const { table } = entry;
    if (table.address === null)
      [table.address, table.addressLine] = [sptep - entry.index * ENTRY_BYTES, record.line];
    entry.learn(spte, record.line);
    this.#context.remember(entry, record, "dump", null, spte);
  }
}
