import type { Spte, SpteFormat } from "@kvm-age/spte";
import type { TraceIdentity } from "../identify/trace-identity.js";
import type { TraceRecord } from "../schema/trace-record.js";
import { FastFaultResults } from "./fast-faults.js";
import type { Findings } from "./findings.js";
import { isHardwareChange } from "./hardware-change.js";
import { ChangeJudge } from "./judge-change.js";
import { LeafFlags } from "./leaf-flags.js";
import type { EntryState, TdpTable } from "./tdp-table.js";
import { TdpTables } from "./tdp-tables.js";

/** Between writing an entry and tracing it a task can be held up; 5 ms covers all but preemption by a long-running task. */
export const RACE_WINDOW_NS = 5_000_000;

/** What all judges of one trace share. */
export class CheckContext {
  readonly identity: TraceIdentity;
  readonly format: SpteFormat;
  readonly findings: Findings;
  readonly tables: TdpTables = new TdpTables();
  readonly directFlags: LeafFlags;
  readonly shadowingFlags: LeafFlags;
  readonly changes: ChangeJudge;
  readonly fastFaults: FastFaultResults;
  /** Names of the events that the trace has shown. What it does not show cannot be missed. */
  readonly seen: Set<string> = new Set();
  /** A root of the TDP MMU has been created. */
  rootSeen = false;
  /** Page tables exist whose beginning the trace does not show. */
  treesFromBefore = false;
  /** Pages that shadow guest tables have been created. */
  shadowPagesSeen = false;
  /** A huge leaf with execute permission was mapped: the NX-huge-page mitigation is off. */
  hugeExecutableSeen = false;
  assumedTables = 0;
  /** Trees that notifier calls have changed, by the distance between host addresses and gfns: several VMs may use the same gfns. */
  readonly treeOfOffset: Map<number, TdpTable> = new Map();
  /** Entries with a change that may have been printed too early. */
  readonly early: Set<EntryState> = new Set();
  /** The last task with an event of the MMU, and the last other one. */
  #lastTask = { pid: -1, timestampNs: 0 };
  #otherTask = { pid: -1, timestampNs: 0 };
  transitions = 0;

  constructor(identity: TraceIdentity, findings: Findings) {
    this.identity = identity;
    this.format = identity.format;
    this.findings = findings;
    this.directFlags = new LeafFlags(identity.format, "direct");
    this.shadowingFlags = new LeafFlags(identity.format, "shadowing");
    this.fastFaults = new FastFaultResults(identity.format);
    this.changes = new ChangeJudge(identity.format, this.directFlags);
  }

  /** Whether the TDP MMU is known to be in use: an event that only it has was seen. Else it may only have been assumed. */
  get tdpMmuKnown(): boolean {
    return this.identity.tdpMmu && this.seen.has("kvm_tdp_mmu_spte_changed");
  }

  /** Whether the trace shows that page-table pages come or go, so that their memory can be told from that of earlier ones. */
  get pageLivesSeen(): boolean {
    return this.seen.has("kvm_mmu_get_page") || this.seen.has("kvm_mmu_prepare_zap_page");
  }

  /** Whether the trace shows the creation of page-table pages: else the memory of a table may be another's without a sign of it. */
  get newPagesSeen(): boolean {
    return this.seen.has("kvm_mmu_get_page");
  }

  /** Whether a fast page fault explains the difference, in a trace that shows none. */
  isUnseenFastFault(known: Spte, seen: Spte): boolean {
    if (this.seen.has("fast_page_fault")) return false;
    return this.fastFaults.results(known).some((result) => isHardwareChange(this.format, result, seen, true));
  }

  /** Notes that the task of the record works in the MMU. */
  noteActivity({ pid, timestampNs }: TraceRecord): void {
    if (pid !== this.#lastTask.pid) this.#otherTask = this.#lastTask;
    this.#lastTask = { pid, timestampNs };
  }

  /** Whether another task worked in the MMU at about the same time, so that lines can stand in another order than the changes they tell of. */
  isRacing({ pid, timestampNs }: TraceRecord): boolean {
    const other = this.#lastTask.pid === pid ? this.#otherTask : this.#lastTask;
    return other.pid !== -1 && timestampNs - other.timestampNs < RACE_WINDOW_NS;
  }

  /** Adds a line to the history of an entry. */
  remember(entry: EntryState, record: TraceRecord, event: string, oldSpte: Spte | null, newSpte: Spte): void {
    const { line, timestampNs, comm, pid } = record;
    entry.remember({ line, timestampNs, comm, pid, event, oldSpte, newSpte });
  }
}
