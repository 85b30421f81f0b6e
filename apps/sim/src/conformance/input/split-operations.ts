import type { ProbeRecord, TraceRecord } from "@kvm-age/trace";
import { type AgevmNote, parseAgevmNote } from "./agevm-note.js";
import { INPUT_EVENTS } from "./input-events.js";
import type { Operation, OperationKind } from "./operation.js";

/** Entry probes of the notifier's callers, which come before the event of the same call. */
const CALLER_PROBES: Readonly<Record<string, OperationKind>> = {
  clear_young: "age",
  clear_flush_young: "age",
  test_young: "test-age",
};

/** Probes of `load_mmu_pgd`. */
const ROOT_PROBES: ReadonlySet<string> = new Set(["pgd", "pgdv"]);

/** Actions of the VMM that are one call into KVM: everything between their notes belongs to it. */
const BRACKETS = ["log 1", "log 0", "slot_delete", "slot_add"];

/** Events that show an operation's effect. */
const EFFECTS: ReadonlySet<string> = new Set([
  "kvm_tdp_mmu_spte_changed",
  "kvm_mmu_set_spte",
  "fast_page_fault",
  "kvm_mmu_get_page",
  "kvm_mmu_prepare_zap_page",
]);

/** Probes of the notifier's handlers: near the effect of a call that has no event for it. What takes `mmu_lock` has it there. */
const HANDLER_PROBES: ReadonlySet<string> = new Set(["age_gfn", "test_age_gfn", "unmap_gfn"]);
const AGING_ANSWERS: ReadonlySet<string> = new Set(["rmap_age_ret", "tdp_age_ret", "age_gfn_ret"]);
/** A `bool` comes in the low byte of the register that a probe prints. */
const BOOL = 0xffn;

/** What is being collected for one task. */
interface OpenOperation {
  readonly kind: OperationKind;
  readonly note: AgevmNote | null;
  readonly records: TraceRecord[];
  /** Whether what follows still belongs to it. */
  readonly open: boolean;
}

/** Splits a trace into operations, in the order in which they took effect. */
export function splitOperations(records: readonly TraceRecord[]): Operation[] {
  const splitter = new Splitter();
  for (const record of records) splitter.add(record);
  return splitter.finish();
}

class Splitter {
  private readonly current = new Map<number, OpenOperation>();
  private readonly done: Operation[] = [];

  add(record: TraceRecord): void {
    if (record.kind === "other") return;
    const open = this.current.get(record.pid);
    const next = startOf(record, open);
    if (next === null) {
      this.append(record, open);
      return;
    }
    this.close(record.pid);
    this.current.set(record.pid, next);
  }

  finish(): Operation[] {
    for (const pid of [...this.current.keys()]) this.close(pid);
    return this.done.sort((one, other) => one.line - other.line);
  }

  private append(record: TraceRecord, open: OpenOperation | undefined): void {
    if (open?.open === true) {
      open.records.push(record);
      return;
    }
    this.close(record.pid);
    this.current.set(record.pid, { kind: "unprompted", note: null, records: [record], open: true });
  }

  private close(pid: number): void {
    const operation = this.current.get(pid);
    this.current.delete(pid);
    if (operation === undefined) return;
    const { kind, note, records } = operation;
    this.done.push({ kind, pid, note, records, line: momentOf(records).line });
  }
}

/**
 * The record at which an operation took effect. Aging that has no event for it may take no lock either: it is put as late as it can have been
 * if it found a page young, which whatever made it young precedes, else as early.
 */
function momentOf(records: readonly TraceRecord[]): TraceRecord {
  return (
    records.find((record) => record.kind === "kvm" && EFFECTS.has(record.name)) ??
    records.find((record) => record.kind === "probe" && isYoungAnswer(record)) ??
    records.find((record) => record.kind === "probe" && HANDLER_PROBES.has(record.name)) ??
    records[0]!
  );
}

function isYoungAnswer({ name, args }: ProbeRecord): boolean {
  return AGING_ANSWERS.has(name) && ((args.ret ?? 0n) & BOOL) !== 0n;
}

/** The operation that a record begins, null if it goes on with the one that is open. */
function startOf(record: TraceRecord, open: OpenOperation | undefined): OpenOperation | null {
  if (record.kind === "note") return startOfNote(record, open);
  if (insideBracket(open)) return null;
  if (record.kind === "probe") {
    if (ROOT_PROBES.has(record.name)) return { kind: "root", note: null, records: [record], open: false };
    const kind = CALLER_PROBES[record.name];
    return kind === undefined ? null : { kind, note: null, records: [record], open: true };
  }
  const kind = record.kind === "kvm" ? INPUT_EVENTS[record.name] : undefined;
  if (kind === undefined || announcedByProbe(kind, open)) return null;
  return { kind, note: null, records: [record], open: true };
}

function startOfNote(
  record: TraceRecord & { kind: "note" },
  open: OpenOperation | undefined,
): OpenOperation | null {
  const note = parseAgevmNote(record.text);
  if (note === null) return { kind: "note", note: null, records: [record], open: false };
  if (insideBracket(open)) return note.what === `${bracketOf(open!)} end` ? closed(note, record) : null;
  const bracket = BRACKETS.some((action) => note.what === `${action} begin`);
  return { kind: bracket ? "bracket" : "note", note, records: [record], open: bracket };
}

function closed(note: AgevmNote, record: TraceRecord): OpenOperation {
  return { kind: "note", note, records: [record], open: false };
}

function insideBracket(open: OpenOperation | undefined): boolean {
  return open?.kind === "bracket";
}

function bracketOf(open: OpenOperation): string {
  return open.note!.what.replace(/ begin$/, "");
}

/** The caller's probe has begun this very operation, and its event was still to come. */
function announcedByProbe(kind: OperationKind, open: OpenOperation | undefined): boolean {
  return open?.kind === kind && open.records.length === 1 && open.records[0]!.kind === "probe";
}
