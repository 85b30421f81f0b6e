import {
  isExecutablePte,
  isShadowPresentPte,
  makeHugeSpte,
  makeRole,
  makeSmallSpte,
  type PgLevel,
  SHADOW_NONPRESENT_VALUE,
  type Spte,
  spteToPfn,
} from "@kvm-age/spte";
import type { KvmEvent } from "../schema/trace-record.js";
import { type CheckContext, RACE_WINDOW_NS } from "./check-context.js";
import type { Faults } from "./faults.js";
import { type Finding, hex, lastLeft } from "./findings.js";
import { differingBits, isHardwareChange } from "./hardware-change.js";
import type { ChangeOperation, EntryChange } from "./judge-change.js";
import {
  assumeTable,
  type EntryPlace,
  entriesAt,
  entryShowing,
  explains,
  misprintedEntry,
} from "./locate-entry.js";
import type { Task } from "./task.js";
import { type EntryState, framesOfEntry, type InitialEntries, roundGfn, TdpTable } from "./tdp-table.js";
import type { Teardowns } from "./teardowns.js";
import { valueKind } from "./value-kind.js";

type ChangeRecord = Extract<KvmEvent, { readonly name: "kvm_tdp_mmu_spte_changed" }>;

/** Differing bits above which an unexpected old value is taken for that of another, unknown tree. */
const MISPRINT_BITS = 2;
const PAGE_BYTES = 4096;

/** Judges `kvm_tdp_mmu_spte_changed` and keeps the state of the tables. */
export class TdpChanges {
  readonly #context: CheckContext;
  readonly #faults: Faults;
  readonly #teardowns: Teardowns;

  constructor(context: CheckContext, faults: Faults, teardowns: Teardowns) {
    this.#context = context;
    this.#faults = faults;
    this.#teardowns = teardowns;
  }

  observe(record: ChangeRecord, task: Task): void {
    const { as_id: asId, gfn, level, old_spte, new_spte } = record.fields;
    this.#context.transitions++;
    const [oldSpte, newSpte] = [old_spte as Spte, new_spte as Spte];
    const said: EntryPlace = { asId, gfn, level };
    const freezing = this.#isFreezing(task, newSpte);
    const place = freezing
      ? this.#teardowns.position(record, task, said, oldSpte)
      : this.#placeOutsideTeardown(record, task, said, oldSpte);
    if (!this.#isAligned(record, place)) return;
    const entry = this.#locate(record, task, place, oldSpte);
    if (entry === null) return;
    this.#judge(record, task, entry, this.#operation(task, entry, freezing));
    this.#apply(record, task, entry, freezing);
  }

  /** The trace is over: what was thought to be early was wrong. */
  finish(): void {
    for (const entry of [...this.#context.early]) this.#settleEarly(entry);
  }

  #isAligned(record: ChangeRecord, { gfn, level, asId }: EntryPlace): boolean {
    const frames = framesOfEntry(level);
    if (level >= 1 && level <= 5 && gfn % frames === 0) return true;
    const detail = `gfn ${hex(gfn)} at level ${level}`;
    this.#context.findings.report(record.line, { rule: "gfn-is-aligned", detail }, { asId, gfn, level });
    this.#doubtAround({ asId, gfn, level }, record.fields.old_spte as Spte);
    return false;
  }

  /** After a line that cannot be placed: believe the next value of the entries it may have been about. */
  #doubtAround(place: EntryPlace, oldSpte: Spte): void {
    const level = Math.min(Math.max(place.level, 1), 5);
    const aligned = { ...place, level, gfn: roundGfn(place.gfn, level) };
    const entries = [...entriesAt(this.#context, aligned)];
    const misprinted = misprintedEntry(this.#context, place, oldSpte);
    if (misprinted !== null) entries.push(misprinted);
    for (const entry of entries) entry.doubtful = true;
  }

  #isFreezing(task: Task, newSpte: Spte): boolean {
    const { frozenSpte } = this.#context.format;
    if (newSpte === frozenSpte) return true;
    return task.teardown.length > 0 && differingBits(newSpte, frozenSpte) === 1;
  }

  #placeOutsideTeardown(record: ChangeRecord, task: Task, said: EntryPlace, oldSpte: Spte): EntryPlace {
    this.#teardowns.end(record, task);
    const { fault } = task;
    if (fault === null || fault.requestLine === 0) return said;
    const level = this.#levelOfFault(task, said, oldSpte);
    const gfn = this.#faults.gfnAt(fault, level, { value: said.gfn, line: record.line });
    if (gfn === said.gfn && level === said.level) return said;
    const detail = `gfn ${hex(said.gfn)} at level ${said.level} in a fault for gfn ${hex(fault.gfns.at(-1)!.value)} that is at level ${level}`;
    const finding: Finding = { rule: "fault-witnesses-agree", detail, contradicts: fault.requestLine };
    this.#context.findings.report(record.line, finding, said);
    return { ...said, gfn, level };
  }

  /** The level that the change must be at, if no entry at the level it says can have held the old value. */
  #levelOfFault(task: Task, said: EntryPlace, oldSpte: Spte): number {
    const due = task.pendingPage !== null ? task.pendingPage.level + 1 : task.fault!.levels.at(-1)!.value;
    if (due === said.level || due < 1 || due > 5) return said.level;
    const gfn = task.fault!.gfns.at(-1)!.value;
    const shows = (level: number): boolean =>
      level >= 1 &&
      level <= 5 &&
      entryShowing(this.#context, { ...said, level, gfn: roundGfn(gfn, level) }, oldSpte) !== null;
    return !shows(said.level) && shows(due) ? due : said.level;
  }

  #operation(task: Task, entry: EntryState, freezing: boolean): ChangeOperation {
    if (freezing) {
      const traced = this.#context.seen.has("kvm_mmu_prepare_zap_page");
      return task.teardown.length > 0 || !traced ? "teardown" : "other";
    }
    const { notifier, fault } = task;
    if (notifier?.kind === "age") {
      const { gfn, level } = entry.identity;
      const { gfns } = notifier;
      if (gfns === null || (gfn < gfns.end && gfn + framesOfEntry(level) > gfns.start)) return "aging";
    }
    if (fault === null || fault.requestLine === 0) return "other";
    return fault.demand || !this.#context.seen.has("kvm_page_fault") ? "fault" : "prefetch";
  }

  /** The entry that the line is about; null if there is none. */
  #locate(record: ChangeRecord, task: Task, place: EntryPlace, oldSpte: Spte): EntryState | null {
    const entries = entriesAt(this.#context, place);
    if (entries.length === 0) return this.#locateUnknown(record, task, place, oldSpte);
    const early = entries.find((entry) => entry.early !== null);
    if (early !== undefined && !explains(this.#context, early, oldSpte)) this.#settleEarly(early);
    const shown = entryShowing(this.#context, place, oldSpte) ?? entries.find((entry) => entry.doubtful);
    if (shown !== undefined) return shown;
    return this.#locateContradicted(record, place, oldSpte, entries[0]!);
  }

  #locateUnknown(record: ChangeRecord, task: Task, place: EntryPlace, oldSpte: Spte): EntryState | null {
    const root = this.#rootOfAnotherKind(task, place);
    if (root !== null) return root;
    if (this.#context.treesFromBefore || this.#context.tables.roots.length === 0)
      return assumeTable(this.#context, place);
    if (this.#isUnseenTeardown(record)) return null;
    const detail = `no table of level ${place.level} covers gfn ${hex(place.gfn)}`;
    this.#context.findings.report(record.line, { rule: "table-is-linked", detail }, place);
    const misprinted = misprintedEntry(this.#context, place, oldSpte);
    if (misprinted !== null) misprinted.doubtful = true;
    return null;
  }

  /** Without the event of its page, nothing tells which table an entry is in that becomes frozen after its table was unlinked. */
  #isUnseenTeardown({ fields }: ChangeRecord): boolean {
    const isFrozen = fields.new_spte === this.#context.format.frozenSpte;
    return isFrozen && !this.#context.seen.has("kvm_mmu_prepare_zap_page");
  }

  /** The first change of a new tree shows the level of its root, and the address space, which the event of the page does not print. */
  #rootOfAnotherKind(task: Task, place: EntryPlace): EntryState | null {
    const root = this.#context.tables.roots.find((table) => !table.used && table.createdLine !== 0);
    if (root === undefined || place.level < 4 || task.pendingPage?.level !== place.level - 1) return null;
    if (root.level !== place.level) {
      const detail = `a root of level ${root.level}, where entries of level ${place.level} follow`;
      this.#context.findings.report(root.createdLine, { rule: "page-is-linked", detail });
    }
    this.#context.tables.remove(root);
    const table = new TdpTable(place.asId, place.level, root.gfn, { kind: "empty" }, null);
    this.#context.tables.addRoot(table);
    return table.entry(table.indexOf(place.gfn));
  }

  #locateContradicted(
    record: ChangeRecord,
    place: EntryPlace,
    oldSpte: Spte,
    entry: EntryState,
  ): EntryState | null {
    const known = entry.value!;
    if (this.#context.isUnseenFastFault(known, oldSpte)) return entry;
    if (this.#context.treesFromBefore && differingBits(known, oldSpte) > MISPRINT_BITS)
      return assumeTable(this.#context, place);
    const freezes = record.fields.new_spte === this.#context.format.frozenSpte;
    if (!freezes && !this.#context.findings.has(record.line) && this.#context.isRacing(record)) {
      const { line, pid, timestampNs } = record;
      entry.early = { line, pid, timestampNs, oldSpte, newSpte: record.fields.new_spte as Spte };
      this.#context.early.add(entry);
      return null;
    }
    const detail = `old value ${hex(oldSpte)}, ${lastLeft(entry.line, known)}`;
    this.#context.findings.report(
      record.line,
      { rule: "old-value-is-the-last-value", detail, contradicts: entry.line },
      entry,
    );
    const misprinted = misprintedEntry(this.#context, place, oldSpte);
    if (misprinted !== null && (differingBits(known, oldSpte) > 1 || this.#keepsPage(record)))
      return misprinted;
    entry.doubtful = true;
    return entry;
  }

  /** Whether both values of a line point to the same page, so that neither of them is misprinted there. */
  #keepsPage({ fields }: ChangeRecord): boolean {
    const moved = (fields.old_spte ^ fields.new_spte) & this.#context.format.spteBaseAddrMask;
    return isShadowPresentPte(fields.new_spte as Spte) && moved === 0n;
  }

  /** A change that came early and was not followed by the one in between. */
  #settleEarly(entry: EntryState): void {
    const { early } = entry;
    if (early === null) return;
    entry.early = null;
    this.#context.early.delete(entry);
    const detail = `${hex(early.oldSpte)}, ${lastLeft(entry.line, entry.value ?? 0n)}`;
    const finding: Finding = { rule: "old-value-is-the-last-value", detail, contradicts: entry.line };
    this.#context.findings.report(early.line, finding, entry);
    const misprinted = misprintedEntry(this.#context, entry.identity, early.oldSpte);
    if (misprinted !== null) misprinted.doubtful = true;
    if (early.newSpte !== early.oldSpte) entry.learn(early.newSpte, early.line);
    entry.doubtful = true;
  }

  #judge(record: ChangeRecord, task: Task, entry: EntryState, operation: ChangeOperation): void {
    if (this.#context.findings.has(record.line)) return;
    const { gfn, level } = entry.identity;
    const change: EntryChange = {
      ...{ gfn, level, operation, access: task.fault?.access ?? null },
      ...{ oldSpte: record.fields.old_spte as Spte, newSpte: record.fields.new_spte as Spte },
      agingIsTraced: this.#context.seen.has("kvm_age_hva"),
      mayBeShadowed: this.#context.shadowPagesSeen || this.#context.treesFromBefore,
    };
    const finding = this.#judgeAs(task, change) ?? this.#judgeRange(task, entry, change);
    if (finding !== null) {
      this.#context.findings.report(record.line, finding, entry);
      entry.doubtful = true;
    }
  }

  /** Without probes the end of an aging call is not seen: what is no aging may come after it. */
  #judgeAs(task: Task, change: EntryChange): Finding | null {
    const finding = this.#context.changes.judge(change);
    if (change.operation !== "aging") return finding;
    const isOther =
      finding !== null &&
      task.notifier!.gfns === null &&
      this.#context.changes.judge({ ...change, operation: "other" }) === null;
    if (isOther) task.notifier = null;
    else task.notifier!.young = true;
    return isOther ? null : finding;
  }

  #judgeRange(task: Task, entry: EntryState, { oldSpte, newSpte }: EntryChange): Finding | null {
    const gfns = task.notifier?.gfns ?? null;
    if (gfns === null) return this.#judgeRecovery(task, entry, oldSpte, newSpte);
    const { gfn, level } = entry.identity;
    if (gfn < gfns.end && gfn + framesOfEntry(level) > gfns.start) {
      const { offset } = task.notifier!;
      if (offset !== null) this.#context.treeOfOffset.set(offset, entry.table.root);
      return null;
    }
    const detail = `gfn ${hex(gfn)} in a call for ${hex(gfns.start)} to ${hex(gfns.end)}`;
    return { rule: "change-is-in-the-range", detail, contradicts: task.notifier!.line };
  }

  /** A table that becomes a leaf outside a fault: the leaf is made of the table's first one. */
  #judgeRecovery(task: Task, entry: EntryState, oldSpte: Spte, newSpte: Spte): Finding | null {
    const { format } = this.#context;
    const { level } = entry.table;
    if (valueKind(format, oldSpte, level) !== "table" || valueKind(format, newSpte, level) !== "leaf")
      return null;
    if (task.fault !== null && task.fault.requestLine !== 0) return null;
    const small = entry.child?.firstFrozenLeaf ?? null;
    if (small === null) return null;
    const made = [false, true].map((mitigation) => makeHugeSpte(format, small, level as PgLevel, mitigation));
    if (made.some((huge) => isHardwareChange(format, newSpte, huge, true))) return null;
    return {
      rule: "recover-takes-a-small-page",
      detail: `${hex(newSpte)}, made of ${hex(small)} would be ${hex(made[0]!)}`,
    };
  }

  #apply(record: ChangeRecord, task: Task, entry: EntryState, freezing: boolean): void {
    const { line, fields } = record;
    const [oldSpte, newSpte] = [fields.old_spte as Spte, fields.new_spte as Spte];
    const before = entry.value;
    const blamed = this.#context.findings.has(line);
    this.#context.remember(entry, record, record.name, oldSpte, newSpte);
    entry.learn(newSpte, line);
    entry.doubtful = blamed;
    if (freezing) this.#freeze(task, entry, oldSpte);
    this.#unlink(task, entry);
    const kind = valueKind(this.#context.format, newSpte, entry.table.level);
    if (kind === "table") this.#link(record, task, entry, blamed);
    if (isShadowPresentPte(newSpte)) entry.table.used = true;
    if (kind === "leaf" && task.fault !== null && task.fault.requestLine !== 0) {
      task.fault.leaf = { line, entry, value: newSpte, before, blamed };
      this.#faults.mapped(task.fault, record, { gfn: fields.gfn, level: fields.level }, newSpte);
    }
    this.#applyEarly(record, entry);
  }

  #freeze(task: Task, entry: EntryState, oldSpte: Spte): void {
    const { table } = entry;
    if (valueKind(this.#context.format, oldSpte, table.level) === "leaf") table.firstFrozenLeaf ??= oldSpte;
    this.#teardowns.froze(task, entry, oldSpte);
  }

  /** A change that was printed before the one it follows takes its place now. */
  #applyEarly(record: ChangeRecord, entry: EntryState): void {
    const { early } = entry;
    if (early === null || !explains(this.#context, entry, early.oldSpte)) return;
    if (early.pid === record.pid || record.timestampNs - early.timestampNs > RACE_WINDOW_NS) return;
    entry.early = null;
    this.#context.early.delete(entry);
    if (early.newSpte !== early.oldSpte) entry.learn(early.newSpte, early.line);
  }

  #unlink(task: Task, entry: EntryState): void {
    const { child } = entry;
    if (child === null) return;
    entry.child = null;
    if (this.#context.format.rules.tdpTeardownOrder === "before-event") this.#context.tables.remove(child);
    else task.unlinked = child;
  }

  #link(record: ChangeRecord, task: Task, entry: EntryState, blamed: boolean): void {
    const { old_spte, new_spte } = record.fields;
    const oldSpte = old_spte as Spte;
    const { asId, gfn, level } = entry.identity;
    const huge = valueKind(this.#context.format, oldSpte, level) === "leaf";
    const initial = huge ? this.#splitEntries(oldSpte, level - 1) : this.#emptyEntries(record);
    const child = new TdpTable(asId, level - 1, gfn, initial, entry);
    child.address = spteToPfn(this.#context.format, new_spte as Spte) * PAGE_BYTES;
    child.addressLine = record.line;
    if (!blamed) this.#adoptPage(record, task, child);
    if (task.pendingPage?.root) this.#context.tables.isNoRoot(task.pendingPage.root);
    task.pendingPage = null;
    entry.child = child;
    this.#context.tables.add(child);
    if (huge) task.split = { line: record.line, gfn, level, spte: oldSpte };
  }

  #emptyEntries(record: ChangeRecord): InitialEntries {
    return record.fields.old_spte === SHADOW_NONPRESENT_VALUE ? { kind: "empty" } : { kind: "unknown" };
  }

  #splitEntries(huge: Spte, level: number): InitialEntries {
    const { format } = this.#context;
    // Under the NX-huge-page mitigation the small pages may have got the execute permission back.
    if (!isExecutablePte(format, huge)) return { kind: "unknown" };
    const role = makeRole(format.rules, {
      level: level as PgLevel,
      direct: true,
      access: format.rules.accAll,
    });
    return { kind: "split", of: (index) => makeSmallSpte(format, huge, role, index, false) };
  }

  #adoptPage(record: ChangeRecord, task: Task, child: TdpTable): void {
    const { pendingPage } = task;
    if (pendingPage === null) return;
    if (pendingPage.level === child.level && pendingPage.gfn === child.gfn) return;
    const detail = `a page of level ${pendingPage.level} at gfn ${hex(pendingPage.gfn)}, linked at level ${child.level}, gfn ${hex(child.gfn)}`;
    this.#context.findings.report(
      pendingPage.line,
      { rule: "page-is-linked", detail, contradicts: record.line },
      child.parent,
    );
  }
}
