import type { SpteFormat } from "@kvm-age/spte";
import type { TraceRecord } from "../schema/trace-record.js";
import type { FaultAccess } from "./fault-access.js";
import { FAULT_OUTCOMES, type FaultOutcome, GuestFault } from "./guest-fault.js";

/** Guest faults that ended in one way. */
export interface FaultRow {
  readonly outcome: FaultOutcome;
  readonly read: number;
  readonly write: number;
  readonly fetch: number;
}

/** What a trace shows of guest faults. */
export interface FaultSummary {
  readonly faults: number;
  /** Of all faults: those that the CPU met while it walked the guest's page tables. */
  readonly inGuestWalk: number;
  readonly rows: readonly FaultRow[];
  /** Accesses that an MMIO SPTE answered, and those that found one of an old memslot generation. */
  readonly mmioCached: number;
  readonly mmioStale: number;
  /** `fast_page_fault` events that neither fixed anything nor found it fixed. */
  readonly fastNotPossible: number;
}

type AccessCounts = Record<FaultAccess, number>;

/** Counts guest faults; keeps only those under way in memory. */
export class FaultCollector {
  readonly #format: SpteFormat;
  readonly #open = new Map<number, GuestFault>();
  readonly #rows = new Map<FaultOutcome, AccessCounts>();
  #faults = 0;
  #inGuestWalk = 0;
  #mmioCached = 0;
  #mmioStale = 0;
  #fastNotPossible = 0;

  constructor(format: SpteFormat) {
    this.#format = format;
  }

  observe(record: TraceRecord): void {
    if (record.kind === "note") this.#end(record.pid);
    if (record.kind !== "kvm") return;
    if (record.name === "fast_page_fault" && !record.fields.fixed && !record.fields.spurious) {
      this.#fastNotPossible++;
    }
    if (record.name === "check_mmio_spte") {
      if (record.fields.valid) this.#mmioCached++;
      else this.#mmioStale++;
    }
    const open = this.#open.get(record.pid);
    if (open !== undefined && !open.observe(record)) this.#end(record.pid);
    if (record.name !== "kvm_page_fault") return;
    const fault = new GuestFault(this.#format, record.fields);
    this.#open.set(record.pid, fault);
    this.#faults++;
    if (fault.inGuestWalk) this.#inGuestWalk++;
  }

  #end(pid: number): void {
    const fault = this.#open.get(pid);
    if (fault === undefined) return;
    this.#open.delete(pid);
    const row = this.#rows.get(fault.outcome) ?? { read: 0, write: 0, fetch: 0 };
    this.#rows.set(fault.outcome, row);
    row[fault.access]++;
  }

  /** The counts; faults under way end here. */
  finish(): FaultSummary {
    for (const pid of [...this.#open.keys()]) this.#end(pid);
    const outcomes = Object.keys(FAULT_OUTCOMES) as FaultOutcome[];
    return {
      faults: this.#faults,
      inGuestWalk: this.#inGuestWalk,
      rows: outcomes.flatMap((outcome) => {
        const counts = this.#rows.get(outcome);
        return counts === undefined ? [] : [{ outcome, ...counts }];
      }),
      mmioCached: this.#mmioCached,
      mmioStale: this.#mmioStale,
      fastNotPossible: this.#fastNotPossible,
    };
  }
}
