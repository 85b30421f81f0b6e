import type { Spte, SpteFormat } from "@kvm-age/spte";
import type { KvmEvent, ProbeRecord, RecordOrigin, TraceRecord } from "../schema/trace-record.js";
import type { AgedLeaf, AgingCall, AskedGfnRange } from "./aging-call.js";
import { entryLevel } from "./entry-level.js";
import { isAgingChange } from "./is-aging-change.js";
import { probedFunction, probedRange, returnedTrue } from "./probed-function.js";

/** Functions that the host calls with host-virtual addresses. */
const NOTIFIERS: ReadonlySet<string> = new Set([
  "kvm_mmu_notifier_clear_young",
  "kvm_mmu_notifier_clear_flush_young",
  "kvm_mmu_notifier_test_young",
]);
/** Functions that ask the MMUs about guest frames. */
const GFN_HANDLERS: ReadonlySet<string> = new Set(["kvm_age_gfn", "kvm_test_age_gfn"]);

interface OpenCall {
  readonly kind: AgingCall["kind"];
  readonly origin: RecordOrigin;
  readonly start: number;
  readonly end: number;
  readonly enteredNs: number | null;
  readonly gfnRanges: AskedGfnRange[];
  readonly aged: AgedLeaf[];
}

type SpteChanged = Extract<KvmEvent, { readonly name: "kvm_tdp_mmu_spte_changed" }>;

function handlersAnswer(ranges: readonly AskedGfnRange[]): boolean | null {
  if (ranges.some(({ young }) => young === true)) return true;
  return ranges.length > 0 && ranges.every(({ young }) => young === false) ? false : null;
}

function closed(open: OpenCall, returned: ProbeRecord | null): AgingCall {
  const { kind, origin, start, end, enteredNs, gfnRanges, aged } = open;
  const probed = (returned === null ? null : returnedTrue(returned)) ?? handlersAnswer(gfnRanges);
  const seen = aged.length > 0 ? true : null;
  const answeredBy = probed !== null ? "return probe" : seen === null ? null : "SPTE changes";
  return {
    kind,
    comm: origin.comm,
    pid: origin.pid,
    line: origin.line,
    timestampNs: origin.timestampNs,
    start,
    end,
    young: probed ?? seen,
    answeredBy,
    durationNs: returned === null || enteredNs === null ? null : returned.timestampNs - enteredNs,
    gfnRanges,
    aged,
  };
}

/**
 * Puts the events of aging calls together. A call begins with `kvm_age_hva` or `kvm_test_age_hva` and lasts until its return probe, or
 * until the task's next event that cannot be part of it. Only calls under way are kept in memory.
 */
export class AgingCalls {
  readonly #format: SpteFormat;
  readonly #open = new Map<number, OpenCall>();
  /** When a task entered a notifier whose `kvm_age_hva` has not come yet. */
  readonly #enteredNs = new Map<number, number>();

  constructor(format: SpteFormat) {
    this.#format = format;
  }

  /** Takes the next record; returns the call that it ends, if any. */
  observe(record: TraceRecord): AgingCall | null {
    if (record.kind === "other") return null;
    if (record.kind === "probe") return this.#observeProbe(record);
    if (record.kind === "note") return this.#close(record.pid, null);
    if (record.name === "kvm_tdp_mmu_spte_changed") return this.#observeChange(record);
    const ended = this.#close(record.pid, null);
    if (record.name === "kvm_age_hva") this.#begin("age", record, record.fields.start, record.fields.end);
    if (record.name === "kvm_test_age_hva") {
      this.#begin("test", record, record.fields.hva, record.fields.hva + 1);
    }
    return ended;
  }

  /** The calls that the end of the trace cuts off. */
  finish(): readonly AgingCall[] {
    const rest = [...this.#open.values()].map((open) => closed(open, null));
    this.#open.clear();
    return rest;
  }

  #begin(kind: AgingCall["kind"], origin: RecordOrigin, start: number, end: number): void {
    const enteredNs = this.#enteredNs.get(origin.pid) ?? null;
    this.#enteredNs.delete(origin.pid);
    this.#open.set(origin.pid, { kind, origin, start, end, enteredNs, gfnRanges: [], aged: [] });
  }

  #close(pid: number, returned: ProbeRecord | null): AgingCall | null {
    const open = this.#open.get(pid);
    if (open === undefined) return null;
    this.#open.delete(pid);
    return closed(open, returned);
  }

  #observeProbe(record: ProbeRecord): AgingCall | null {
    const probed = probedFunction(record);
    if (probed === null) return null;
    if (NOTIFIERS.has(probed.name)) {
      const ended = this.#close(record.pid, probed.returns ? record : null);
      if (probed.returns) this.#enteredNs.delete(record.pid);
      else this.#enteredNs.set(record.pid, record.timestampNs);
      return ended;
    }
    if (GFN_HANDLERS.has(probed.name)) this.#observeHandler(record, probed.returns);
    return null;
  }

  #observeHandler(record: ProbeRecord, returns: boolean): void {
    const ranges = this.#open.get(record.pid)?.gfnRanges;
    if (ranges === undefined) return;
    const asked = probedRange(record);
    if (!returns && asked !== null) ranges.push({ ...asked, young: null });
    const last = ranges.at(-1);
    if (returns && last !== undefined) ranges[ranges.length - 1] = { ...last, young: returnedTrue(record) };
  }

  #observeChange(record: SpteChanged): AgingCall | null {
    const open = this.#open.get(record.pid);
    if (open === undefined) return null;
    const { as_id, gfn, level, old_spte, new_spte } = record.fields;
    const pgLevel = entryLevel(level);
    if (old_spte === new_spte || pgLevel === null) return null;
    if (!isAgingChange(this.#format, old_spte as Spte, new_spte as Spte, pgLevel)) {
      return this.#close(record.pid, null);
    }
    open.aged.push({ asId: as_id, gfn, level });
    return null;
  }
}
