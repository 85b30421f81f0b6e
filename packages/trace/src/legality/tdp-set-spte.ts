import type { Spte } from "@kvm-age/spte";
import type { KvmEvent } from "../schema/trace-record.js";
import type { CheckContext } from "./check-context.js";
import type { Faults } from "./faults.js";
import { blameTheOther, type Finding, hex, lastLeft } from "./findings.js";
import { judgeLetters } from "./judge-letters.js";
import { flagsOf } from "./leaf-flags.js";
import { entriesOfGfn, explains } from "./locate-entry.js";
import type { FaultInProgress, Task } from "./task.js";
import { type EntryState, roundGfn, type TdpTable } from "./tdp-table.js";

type SetRecord = Extract<KvmEvent, { readonly name: "kvm_mmu_set_spte" }>;

const PAGE_BYTES = 4096;
const ENTRY_BYTES = 8;

/** Judges `kvm_mmu_set_spte` of the TDP MMU: it repeats what the task just did. */
export class TdpSetSpte {
  readonly #context: CheckContext;
  readonly #faults: Faults;

  constructor(context: CheckContext, faults: Faults) {
    this.#context = context;
    this.#faults = faults;
  }

  observe(record: SetRecord, task: Task): void {
    const fault = task.fault!;
    const { gfn, level, spte } = record.fields;
    this.#context.transitions++;
    this.#faults.mapped(fault, record, { gfn, level }, spte as Spte);
    const entry = fault.leaf?.entry ?? this.#entryOf(fault, record);
    if (entry === null) {
      this.#faults.close(task);
      return;
    }
    this.#judgeValue(record, fault, entry);
    this.#judgeAddress(record, task, entry);
    const letters = judgeLetters(this.#context.identity, record.fields) ?? this.#judgeAligned(record);
    if (letters !== null) this.#context.findings.report(record.line, letters, entry);
    fault.leaf ??= { line: record.line, entry, value: spte as Spte, before: null, blamed: false };
    this.#faults.close(task);
    this.#context.remember(entry, record, record.name, null, spte as Spte);
  }

  #judgeAligned({ fields: { gfn, level } }: SetRecord): Finding | null {
    if (gfn === roundGfn(gfn, level)) return null;
    return { rule: "gfn-is-aligned", detail: `gfn ${hex(gfn)} at level ${level}` };
  }

  /** A fault that found its page mapped already changes nothing. */
  #entryOf(fault: FaultInProgress, record: SetRecord): EntryState | null {
    const { level, spte } = record.fields;
    const gfn = this.#faults.gfnAt(fault, level, { value: record.fields.gfn, line: record.line });
    const entries = entriesOfGfn(this.#context, gfn, level);
    return entries.find((entry) => explains(this.#context, entry, spte as Spte)) ?? entries[0] ?? null;
  }

  #judgeValue(record: SetRecord, fault: FaultInProgress, entry: EntryState): void {
    const spte = record.fields.spte as Spte;
    if (entry.doubtful) {
      entry.learn(spte, record.line);
      return;
    }
    if (explains(this.#context, entry, spte) || this.#mayHaveRaced(record, entry, spte)) {
      if (entry.value === null || !entry.doubtful) this.#confirm(entry, spte, record.line);
      return;
    }
    this.#blameOne(record, fault, entry, spte);
  }

  #confirm(entry: EntryState, spte: Spte, line: number): void {
    if (entry.value === null || explains(this.#context, entry, spte)) entry.learn(spte, line);
  }

  /** The line reads the entry again: another task may have changed it meanwhile, and traced that later. */
  #mayHaveRaced(record: SetRecord, entry: EntryState, spte: Spte): boolean {
    if (!this.#context.isRacing(record)) return false;
    const { line, pid, timestampNs } = record;
    entry.early = { line, pid, timestampNs, oldSpte: spte, newSpte: spte };
    this.#context.early.add(entry);
    return true;
  }

  /** Of the change and its repetition, the one that no fault makes is wrong; with both possible, the repetition. */
  #blameOne(record: SetRecord, fault: FaultInProgress, entry: EntryState, spte: Spte): void {
    const { format, directFlags } = this.#context;
    const { leaf } = fault;
    const detail = `kvm_mmu_set_spte shows ${hex(spte)}, ${lastLeft(entry.line, entry.value!)}`;
    const sameFlags = flagsOf(format, spte) === flagsOf(format, entry.value!);
    const request = { level: record.fields.level, access: fault.access, prefetch: null };
    const repetitionIsMade = directFlags.made(request).has(flagsOf(format, spte));
    if (leaf !== null && sameFlags) {
      // Which frame is right, the lines of the fault decide together.
      entry.doubtful = true;
      return;
    }
    if (leaf !== null && repetitionIsMade && !directFlags.made(request).has(flagsOf(format, entry.value!))) {
      this.#context.findings.report(
        leaf.line,
        { rule: "leaf-is-made-by-the-kernel", detail, contradicts: record.line },
        entry,
      );
      entry.learn(spte, record.line);
      return;
    }
    this.#context.findings.report(
      record.line,
      { rule: "set-spte-repeats-the-change", detail, contradicts: entry.line },
      entry,
    );
    entry.doubtful = true;
  }

  #judgeAddress(record: SetRecord, task: Task, entry: EntryState): void {
    const { sptep } = record.fields;
    const { table, index } = entry;
    const place = sptep - index * ENTRY_BYTES;
    this.#settleDispute(task, table, place);
    if (place === table.address) return;
    if (table.address === null && place % PAGE_BYTES === 0) {
      [table.address, table.addressLine] = [place, record.line];
      return;
    }
    if (!this.#context.newPagesSeen) {
      // The memory may be another table's by now.
      [table.address, table.addressLine] = place % PAGE_BYTES === 0 ? [place, record.line] : [null, 0];
      return;
    }
    const detail = `entry ${index} of the table at ${hex(table.address ?? 0)} shows at ${hex(sptep)}`;
    const finding = { rule: "sptep-is-the-entry", detail, contradicts: table.addressLine } as const;
    const violation = this.#context.findings.report(record.line, finding, entry);
    if (violation !== null && place % PAGE_BYTES === 0) task.dispute = { violation, table, candidate: place };
  }

  /** The link and the first entry disagreed about the address of a table: the next entry decides. */
  #settleDispute(task: Task, table: TdpTable, place: number): void {
    const { dispute } = task;
    if (dispute === null || dispute.table !== table) return;
    task.dispute = null;
    if (place !== dispute.candidate) return;
    blameTheOther(dispute.violation);
    table.address = place;
    if (table.parent !== null) table.parent.doubtful = true;
  }
}
