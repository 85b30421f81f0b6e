import type { TraceIdentity } from "../identify/trace-identity.js";
import type { KvmMmuPageFields } from "../schema/kvm-event-fields.js";
import type { KvmEvent, NoteRecord, TraceRecord } from "../schema/trace-record.js";
import { CheckContext } from "./check-context.js";
import { parseDumpedEntry, TdpDumps } from "./dumps.js";
import { Faults } from "./faults.js";
import { Findings, hex } from "./findings.js";
import { GuestWalks } from "./guest-walks.js";
import { NotifierCalls } from "./notifier-calls.js";
import { createTdpPage, ShadowPages } from "./pages.js";
import { SeveralVms } from "./several-vms.js";
import { ShadowEntries } from "./shadow-entries.js";
import { Task } from "./task.js";
import { TdpChanges } from "./tdp-changes.js";
import { TdpFastFaults } from "./tdp-fast-faults.js";
import { TdpSetSpte } from "./tdp-set-spte.js";
import type { TdpTable } from "./tdp-table.js";
import { Teardowns } from "./teardowns.js";
import type { LegalityReport } from "./violation.js";

/** How a check is done. */
export interface LegalityOptions {
  /** Violations kept with all details; the rest is counted. Default 1000. */
  readonly maxViolations?: number;
}

/** Events that come after the creation of a root only. */
const NEEDS_ROOT: ReadonlySet<string> = new Set([
  "kvm_page_fault",
  "kvm_mmu_pagetable_walk",
  "kvm_mmu_paging_element",
  "fast_page_fault",
  "kvm_mmu_spte_requested",
  "kvm_mmu_set_spte",
  "kvm_tdp_mmu_spte_changed",
  "kvm_mmu_prepare_zap_page",
]);

const DEFAULT_MAX_VIOLATIONS = 1000;

/**
 * Judges a trace, record by record, by the kernel's rules. Memory grows with the entries that the trace shows, not with its length.
 * A trace may start in the middle: the first sight of an entry teaches its value.
 */
export class LegalityChecker {
  readonly #context: CheckContext;
  readonly #findings: Findings;
  readonly #tasks = new Map<number, Task>();
  readonly #walks: GuestWalks;
  readonly #faults: Faults;
  readonly #teardowns: Teardowns;
  readonly #changes: TdpChanges;
  readonly #setSpte: TdpSetSpte;
  readonly #fastFaults: TdpFastFaults;
  readonly #notifiers: NotifierCalls;
  readonly #dumps: TdpDumps;
  readonly #pages: ShadowPages;
  readonly #shadow: ShadowEntries;
  readonly #severalVms = new SeveralVms();
  #records = 0;

  constructor(identity: TraceIdentity, options: LegalityOptions = {}) {
    this.#findings = new Findings(options.maxViolations ?? DEFAULT_MAX_VIOLATIONS);
    this.#context = new CheckContext(identity, this.#findings);
    this.#walks = new GuestWalks(this.#context);
    this.#faults = new Faults(this.#context);
    this.#teardowns = new Teardowns(this.#context);
    this.#changes = new TdpChanges(this.#context, this.#faults, this.#teardowns);
    this.#setSpte = new TdpSetSpte(this.#context, this.#faults);
    this.#fastFaults = new TdpFastFaults(this.#context);
    this.#notifiers = new NotifierCalls(this.#context);
    this.#dumps = new TdpDumps(this.#context);
    this.#pages = new ShadowPages(this.#context, this.#walks);
    this.#shadow = new ShadowEntries(this.#context, this.#walks);
  }

  /** Judges the next record of the trace. */
  observe(record: TraceRecord): void {
    this.#records++;
    if (record.kind === "other") return;
    const task = this.#task(record.pid);
    if (record.kind === "probe") this.#notifiers.probe(record, task);
    else if (record.kind === "note") this.#observeNote(record, task);
    else this.#observeKvm(record, task);
  }

  /** Events were lost: what entries hold is unknown until the next sight of them. */
  eventsWereLost(): void {
    this.#context.tables.clear();
    this.#context.early.clear();
    this.#context.treesFromBefore = true;
    this.#tasks.clear();
    this.#pages.clear();
    this.#shadow.clear();
  }

  /** Ends the check. */
  finish(): LegalityReport {
    for (const task of this.#tasks.values()) this.#faults.close(task);
    this.#changes.finish();
    return {
      records: this.#records,
      transitions: this.#context.transitions,
      violationCount: this.#findings.count,
      violations: this.#findings.sorted(),
      assumedTables: this.#context.assumedTables,
      sharedVcpu: this.#severalVms.found,
    };
  }

  #task(pid: number): Task {
    let task = this.#tasks.get(pid);
    if (task === undefined) {
      task = new Task(pid);
      this.#tasks.set(pid, task);
    }
    return task;
  }

  /** What the task's last events left open, this one closes. */
  #settle(event: KvmEvent, task: Task): void {
    if (task.unlinked !== null && event.name !== "kvm_mmu_prepare_zap_page") {
      this.#context.tables.remove(task.unlinked);
      task.unlinked = null;
    }
    const staysInTeardown =
      event.name === "kvm_mmu_prepare_zap_page" || event.name === "kvm_tdp_mmu_spte_changed";
    if (!staysInTeardown) this.#teardowns.end(event, task);
    if (event.name !== "kvm_tdp_mmu_spte_changed" && task.notifier?.gfns === null) task.notifier = null;
  }

  #observeNote(record: NoteRecord, task: Task): void {
    // A task that writes a note is outside the kernel.
    this.#faults.close(task);
    const dumped = parseDumpedEntry(record);
    if (dumped === null) this.#teardowns.end(record, task);
    else if (this.#context.identity.tdpMmu) this.#dumps.observe(record, dumped);
    else this.#shadow.observeDump(record, dumped);
  }

  #observeKvm(event: KvmEvent, task: Task): void {
    this.#context.seen.add(event.name);
    this.#severalVms.observe(event);
    this.#noteOlderTrees(event);
    this.#settle(event, task);
    this.#observeEvent(event, task);
    this.#context.noteActivity(event);
  }

  /** The MMU works before the trace has shown a root: its tables are older than the trace. */
  #noteOlderTrees(event: KvmEvent): void {
    if (!this.#context.identity.tdpMmu || this.#context.rootSeen) return;
    if (NEEDS_ROOT.has(event.name)) this.#context.treesFromBefore = true;
  }

  #observeEvent(event: KvmEvent, task: Task): void {
    switch (event.name) {
      case "kvm_age_hva":
      case "kvm_test_age_hva":
      case "kvm_unmap_hva_range":
        if (event.name === "kvm_unmap_hva_range") this.#shadow.entriesChanged(event.line);
        // The lookup of its page may call the notifier on behalf of a fault; a fault that has its page holds mmu_lock.
        if (task.fault !== null && task.fault.requestLine !== 0) this.#faults.close(task);
        this.#notifiers.begin(event, task);
        return;
      case "kvm_page_fault":
        this.#walks.forget(event.pid);
        this.#faults.begin(event, event.fields, task);
        return;
      case "kvm_mmu_spte_requested":
        this.#faults.request(event, event.fields, task);
        return;
      case "kvm_tdp_mmu_spte_changed":
        this.#changes.observe(event, task);
        return;
      default:
        this.#observeRarer(event, task);
        return;
    }
  }

  #observeRarer(event: KvmEvent, task: Task): void {
    switch (event.name) {
      case "kvm_mmu_set_spte":
        if (this.#context.identity.tdpMmu && this.#isTdpMapping(task)) this.#setSpte.observe(event, task);
        else this.#shadow.observeSet(event, task);
        return;
      case "fast_page_fault":
        if (this.#context.identity.tdpMmu) this.#fastFaults.observe(event, task);
        else this.#shadow.observeFastFault(event, task);
        return;
      case "kvm_mmu_split_huge_page":
        this.#judgeSplit(event, task);
        return;
      case "kvm_mmu_get_page":
        this.#getPage(event, task);
        return;
      case "kvm_mmu_prepare_zap_page":
        this.#zapPage(event, task);
        return;
      case "kvm_mmu_sync_page":
      case "kvm_mmu_unsync_page":
        this.#shadow.entriesChanged(event.line);
        this.#pages.use(event, event.fields);
        return;
      case "kvm_mmu_zap_all_fast":
        this.#zapAll(event);
        return;
      default:
        this.#walks.observe(event);
        return;
    }
  }

  #isTdpPage(page: KvmMmuPageFields): boolean {
    return this.#context.identity.tdpMmu && page.direct;
  }

  /** A fault that walked tables of a nested guest maps a shadow page, unless it changed an entry of the TDP MMU. */
  #isTdpMapping(task: Task): boolean {
    const { fault } = task;
    if (fault === null || fault.requestLine === 0) return false;
    return fault.leaf !== null || this.#walks.address(task.pid) === null;
  }

  #getPage(event: Extract<KvmEvent, { readonly name: "kvm_mmu_get_page" }>, task: Task): void {
    const { fields } = event;
    if (this.#isTdpPage(fields)) createTdpPage(this.#context, event, fields, task);
    else {
      this.#context.shadowPagesSeen = true;
      this.#shadow.pagesChanged(event.line);
      this.#pages.get(event, fields, task);
    }
  }

  #zapPage(event: Extract<KvmEvent, { readonly name: "kvm_mmu_prepare_zap_page" }>, task: Task): void {
    if (this.#isTdpPage(event.fields)) this.#teardowns.begin(event, event.fields, task);
    else {
      this.#shadow.pagesChanged(event.line);
      this.#pages.zap(event, event.fields);
    }
  }

  #zapAll(event: Extract<KvmEvent, { readonly name: "kvm_mmu_zap_all_fast" }>): void {
    const generation = event.fields.mmu_valid_gen;
    this.#shadow.pagesChanged(event.line);
    for (const root of this.#context.tables.roots) this.#markObsolete(root);
    if (generation > 1) {
      const detail = `generation ${generation}`;
      this.#findings.report(event.line, { rule: "generation-is-a-bit", detail });
    }
  }

  #markObsolete(table: TdpTable): void {
    table.obsolete = true;
    for (const { child } of table.entries.values()) if (child !== null) this.#markObsolete(child);
  }

  #judgeSplit(event: Extract<KvmEvent, { readonly name: "kvm_mmu_split_huge_page" }>, task: Task): void {
    const { split } = task;
    const { gfn, level, spte, errno } = event.fields;
    task.split = null;
    if (split === null || errno !== 0 || !this.#context.identity.tdpMmu) return;
    if (split.gfn === gfn && split.level === level && split.spte === spte) return;
    const detail = `${hex(spte)} of gfn ${hex(gfn)} at level ${level}, where ${hex(split.spte)} of gfn ${hex(split.gfn)} at level ${split.level} was split`;
    this.#findings.report(event.line, { rule: "split-names-the-huge-page", detail, contradicts: split.line });
  }
}
