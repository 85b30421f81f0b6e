import type { Spte } from "@kvm-age/spte";
import type { LegalityRuleName } from "./rules.js";
import type { SharedVcpu } from "./several-vms.js";

/** One event in the life of an entry, as a report shows it. */
export interface HistoryItem {
  readonly line: number;
  /** Nanoseconds of the trace clock. */
  readonly timestampNs: number;
  readonly comm: string;
  readonly pid: number;
  /** Name of the event, or `dump`. */
  readonly event: string;
  /** Value before; null where the event shows one value only. */
  readonly oldSpte: Spte | null;
  readonly newSpte: Spte;
}

/** The entry that a violation is about. */
export interface EntryIdentity {
  readonly asId: number;
  readonly gfn: number;
  readonly level: number;
}

/** A line that no legal history explains. */
export interface Violation {
  /** Line of the trace that is to blame. Of two lines that contradict each other without a third, the later one. */
  readonly line: number;
  /** Another line that it contradicts; null if it is illegal on its own. */
  readonly contradicts: number | null;
  readonly rule: LegalityRuleName;
  /** What was expected and what was found, with values. */
  readonly detail: string;
  readonly entry: EntryIdentity | null;
  /** The last events of the entry, oldest first, at most `HISTORY_LENGTH`; without the line to blame. */
  readonly history: readonly HistoryItem[];
}

/** Events of an entry that are remembered. */
export const HISTORY_LENGTH = 8;

/** What a legality check found. */
export interface LegalityReport {
  /** Records seen, judged or not. */
  readonly records: number;
  /** Values of entries that were judged: both values of a change count once. */
  readonly transitions: number;
  readonly violationCount: number;
  /** In the order of their lines; the first ones, if there were more than the checker keeps. */
  readonly violations: readonly Violation[];
  /** How often the checker started to believe in page tables that the trace does not show the beginning of. */
  readonly assumedTables: number;
  /** A vCPU that two tasks run in turn, so that the trace seems to hold several VMs, which are judged as if they were one; null if none does. */
  readonly sharedVcpu: SharedVcpu | null;
}
