import type { Spte } from "@kvm-age/spte";
import type { OpenViolation } from "./findings.js";
import type { EntryState, TdpTable } from "./tdp-table.js";
import type { Statement } from "./vote.js";

/** A fault on its way through the MMU, from `kvm_page_fault` or `kvm_mmu_spte_requested` to `kvm_mmu_set_spte`. */
export interface FaultInProgress {
  /** Whether the guest faulted, rather than the host asking ahead; false if `kvm_page_fault` was not seen. */
  demand: boolean;
  /** Address of `kvm_page_fault`; null if it was not seen. */
  readonly address: bigint | null;
  readonly gfns: Statement[];
  readonly pfns: Statement[];
  readonly levels: Statement[];
  access: number | null;
  requestLine: number;
  leaf: LeafOfFault | null;
}

/** The change that maps the page of a fault. */
export interface LeafOfFault {
  readonly line: number;
  readonly entry: EntryState;
  readonly value: Spte;
  /** Value of the entry before. */
  readonly before: Spte | null;
  /** The line has been found illegal. */
  readonly blamed: boolean;
}

/** A page-table page that a task created and has not linked yet. */
export interface PendingPage {
  readonly line: number;
  readonly level: number;
  readonly gfn: number;
  /** Registered in advance, because it may be a root. */
  readonly root: TdpTable | null;
}

/** A table that a task is tearing down. */
export interface Teardown {
  readonly line: number;
  readonly level: number;
  readonly gfn: number;
  /** The table, once an event has told which one it is. */
  table: TdpTable | null;
  /** Index of the entry that was frozen last; -1 before the first. */
  last: number;
  /** The line has been found illegal, so that its entries tell which table it is about. */
  readonly blamed: boolean;
  /** Empty entries are frozen too. */
  shared: boolean;
}

/** A call of the MMU notifier that a task is in. */
export interface NotifierCall {
  readonly kind: "age" | "test" | "unmap";
  readonly line: number;
  /** Host-virtual bytes. */
  readonly start: number;
  readonly end: number;
  /** The line has been found illegal. */
  readonly blamed: boolean;
  /** The range of gfns, if a probe showed it. */
  gfns: { readonly start: number; readonly end: number } | null;
  /** Pages from the gfns up to the host addresses, if a probe showed it and the call is within one memslot. */
  offset: number | null;
  /** A change or a probe said that something was young. */
  young: boolean;
}

/** The huge leaf that a task replaced by a table. */
export interface SplitInProgress {
  readonly line: number;
  readonly gfn: number;
  readonly level: number;
  readonly spte: Spte;
}

/** What one task is doing. */
export class Task {
  readonly pid: number;
  fault: FaultInProgress | null = null;
  pendingPage: PendingPage | null = null;
  readonly teardown: Teardown[] = [];
  notifier: NotifierCall | null = null;
  split: SplitInProgress | null = null;
  /** A table that the task's last change took out of its tree, before its entries were frozen. */
  unlinked: TdpTable | null = null;
  /** Range of the probe that comes right before the notifier's own event. */
  announced: { readonly start: number; readonly end: number; readonly line: number } | null = null;
  /** Answer of the innermost function that returned in this notifier call. */
  answer: { young: boolean; line: number } | null = null;
  /** A contradiction between two lines that a third may decide. */
  dispute: {
    readonly violation: OpenViolation;
    readonly table: TdpTable;
    readonly candidate: number;
  } | null = null;

  constructor(pid: number) {
    this.pid = pid;
  }
}
