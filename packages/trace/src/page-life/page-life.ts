import { isLastSpte, kvmPagesPerHpage, type PgLevel, type Spte, type SpteFormat } from "@kvm-age/spte";
import type { TraceIdentity } from "../identify/trace-identity.js";
import type { KvmEventFields, KvmMmuPageFields } from "../schema/kvm-event-fields.js";
import type { KvmEvent, NoteRecord, ProbeRecord, TraceRecord } from "../schema/trace-record.js";
import { entryLevel } from "../state/entry-level.js";
import type { GuestMemoryMap } from "../state/guest-memory-map.js";
import { decimalField, hexField, noteFields } from "../state/note-fields.js";
import { probedFunction, probedRange } from "../state/probed-function.js";
import { SpteStates } from "../state/spte-states.js";
import { describeEvent, describeProbe } from "./describe-record.js";
import { type NotedMemory, noteConcerns, notedMemory } from "./note-concerns.js";
import type { PageEvent, PageSpte } from "./page-event.js";

const PAGE_BYTES = 4096;

/** Picks the events of one guest frame out of a trace, in order. */
export class PageLife {
  readonly gfn: number;
  readonly #format: SpteFormat;
  /** The frame's addresses in the host. */
  readonly #hvas: readonly number[];
  readonly #states: SpteStates;
  /** The last fault of each task that did not seem to be about the frame, and its fast page fault. */
  readonly #held = new Map<number, readonly KvmEvent[]>();
  /** Tasks in a call of the host that is about the frame: their probes belong to it. */
  readonly #inCall = new Set<number>();
  #memory: NotedMemory | null = null;

  /** @param map where guest memory stands in the host; without it, calls about host-virtual memory cannot be told to be about the frame */
  constructor({ format, tdpMmu }: TraceIdentity, gfn: number, map: GuestMemoryMap) {
    this.gfn = gfn;
    this.#format = format;
    this.#hvas = map.hvasOf(gfn);
    this.#states = new SpteStates(format, tdpMmu);
  }

  /** Takes the next record; returns what it adds to the life of the page, mostly nothing. */
  observe(record: TraceRecord): readonly PageEvent[] {
    const events = this.#eventsOf(record);
    this.#states.apply(record);
    return events;
  }

  #eventsOf(record: TraceRecord): readonly PageEvent[] {
    switch (record.kind) {
      case "note":
        return this.#noteEvents(record);
      case "probe":
        return this.#probeEvents(record);
      case "kvm":
        return this.#kvmEvents(record);
      default:
        return [];
    }
  }

  #noteEvents(record: NoteRecord): readonly PageEvent[] {
    this.#inCall.delete(record.pid);
    this.#memory = notedMemory(record.text) ?? this.#memory;
    if (!noteConcerns(record.text, this.gfn, this.#memory)) return [];
    const spte = this.#notedSpte(record.text);
    return spte !== null && this.#isKnownTable(spte) ? [] : [{ record, what: `note: ${record.text}`, spte }];
  }

  /** Whether a dump shows a table on the way to the page that is there since it was linked: nothing new. */
  #isKnownTable({ gfn, level, after }: PageSpte): boolean {
    if (level === null || isLastSpte(after, level)) return false;
    return this.#states.value(0, gfn, level) === after;
  }

  /** The value that a dump of the page tables shows (`level= gfn= val=`). */
  #notedSpte(text: string): PageSpte | null {
    const fields = noteFields(text);
    const [gfn, value] = [hexField(fields.get("gfn")), fields.get("val")];
    const level = entryLevel(decimalField(fields.get("level")) ?? 0);
    if (gfn === null || level === null || value === undefined || !/^[0-9a-f]{1,16}$/.test(value)) return null;
    return { gfn, level, before: null, after: BigInt(`0x${value}`) as Spte };
  }

  #probeEvents(record: ProbeRecord): readonly PageEvent[] {
    const probed = probedFunction(record);
    if (probed === null) return [];
    const notifier = probed.name.startsWith("kvm_mmu_notifier_");
    const named = this.#probesFrame(record, notifier);
    const inCall = this.#inCall.has(record.pid);
    if (notifier) this.#inCall.delete(record.pid);
    const beginsAnotherCall = notifier && !probed.returns && !named;
    if (beginsAnotherCall || !(named || inCall)) return [];
    return [{ record, what: describeProbe(record), spte: null }];
  }

  /** Whether a probe records a range that the frame is in: host-virtual addresses in notifiers, frames elsewhere. */
  #probesFrame(record: ProbeRecord, notifier: boolean): boolean {
    const range = probedRange(record);
    if (range === null) return false;
    return notifier
      ? this.#standsIn(range.start, range.end)
      : range.start <= this.gfn && this.gfn < range.end;
  }

  #kvmEvents(event: KvmEvent): readonly PageEvent[] {
    const concerns = this.#concerns(event);
    const before = this.#heldBefore(event, concerns);
    if (event.name !== "kvm_tdp_mmu_spte_changed") this.#followCall(event, concerns);
    if (!concerns) return [];
    return [...before, event].map((record) => this.#pageEvent(record));
  }

  #pageEvent(record: KvmEvent): PageEvent {
    return { record, what: describeEvent(this.#format, record), spte: this.#spteOf(record) };
  }

  /**
   * Holds a fault whose address is not the frame's, and hands it out when the lookup that follows is about the frame: with shadow paging the
   * address is the guest's own, and a fault elsewhere may map a huge page that the frame is in.
   */
  #heldBefore(event: KvmEvent, concerns: boolean): readonly KvmEvent[] {
    const held = this.#held.get(event.pid) ?? [];
    if (event.name === "kvm_page_fault") this.#held.set(event.pid, concerns ? [] : [event]);
    if (event.name === "fast_page_fault" && !concerns) this.#held.set(event.pid, [...held, event]);
    if (event.name !== "kvm_mmu_spte_requested") return [];
    this.#held.delete(event.pid);
    return held;
  }

  /** The host's calls about memory of the frame: what their task does next belongs to them. */
  #followCall(event: KvmEvent, concerns: boolean): void {
    const isCall =
      event.name === "kvm_age_hva" ||
      event.name === "kvm_test_age_hva" ||
      event.name === "kvm_unmap_hva_range";
    if (isCall && concerns) this.#inCall.add(event.pid);
    else this.#inCall.delete(event.pid);
  }

  #coveredBy(gfn: number, level: number): boolean {
    const pgLevel = entryLevel(level);
    if (pgLevel === null) return false;
    const pages = kvmPagesPerHpage(pgLevel);
    return gfn - (gfn % pages) === this.gfn - (this.gfn % pages);
  }

  #concerns(event: KvmEvent): boolean {
    switch (event.name) {
      case "kvm_age_hva":
      case "kvm_unmap_hva_range":
        return this.#standsIn(event.fields.start, event.fields.end);
      case "kvm_test_age_hva":
        return this.#standsIn(event.fields.hva, event.fields.hva + 1);
      case "kvm_page_fault":
        return this.#format.mode !== "shadow" && this.#isAt(event.fields.address);
      case "fast_page_fault":
        return this.#format.mode !== "shadow" && this.#isAt(event.fields.gva);
      case "kvm_mmu_spte_requested":
      case "kvm_mmu_set_spte":
      case "kvm_tdp_mmu_spte_changed":
      case "kvm_mmu_split_huge_page":
        return this.#coveredBy(event.fields.gfn, event.fields.level);
      case "kvm_mmu_get_page":
      case "kvm_mmu_prepare_zap_page":
      case "kvm_mmu_sync_page":
      case "kvm_mmu_unsync_page":
        return this.#isTableOf(event.fields);
      case "mark_mmio_spte":
      case "handle_mmio_page_fault":
        return event.fields.gfn === this.gfn;
      case "kvm_mmu_set_accessed_bit":
      case "kvm_mmu_set_dirty_bit":
        return Math.floor(event.fields.gpa / PAGE_BYTES) === this.gfn;
      case "kvm_mmu_zap_all_fast":
        return true;
      default:
        return false;
    }
  }

  #standsIn(start: number, end: number): boolean {
    return this.#hvas.some((hva) => hva < end && start < hva + PAGE_BYTES);
  }

  /** Whether a guest-physical address is in the frame, or in the huge page that maps it. */
  #isAt(address: bigint): boolean {
    const gfn = Number(BigInt.asUintN(64, address) >> 12n);
    if (gfn === this.gfn) return true;
    return this.#states.leavesOf(this.gfn).some(({ level }) => this.#coveredBy(gfn, level));
  }

  /** Whether a page-table page lies on the way to the frame, or shadows a guest's table that is in it. */
  #isTableOf({ direct, gfn, level }: KvmMmuPageFields): boolean {
    return direct ? this.#coveredBy(gfn, level + 1) || level === 5 : gfn === this.gfn;
  }

  #spteOf(event: KvmEvent): PageSpte | null {
    switch (event.name) {
      case "kvm_tdp_mmu_spte_changed":
        return changedSpte(event.fields);
      case "kvm_mmu_set_spte":
        return this.#setSpte(event.fields);
      case "fast_page_fault":
        return this.#fastSpte(event.fields);
      default:
        return null;
    }
  }

  #setSpte({ gfn, level, spte }: KvmEventFields["kvm_mmu_set_spte"]): PageSpte | null {
    const pgLevel = entryLevel(level);
    if (pgLevel === null) return null;
    const known = this.#states.value(0, gfn, pgLevel);
    return known === spte ? null : { gfn, level: pgLevel, before: known, after: spte as Spte };
  }

  #fastSpte({ old_spte, new_spte }: KvmEventFields["fast_page_fault"]): PageSpte | null {
    if (old_spte === new_spte) return null;
    const leaves = this.#states.leavesOf(this.gfn);
    const leaf = leaves.find(({ spte }) => spte === old_spte) ?? leaves[0];
    const level: PgLevel | null = leaf?.level ?? null;
    return { gfn: leaf?.gfn ?? this.gfn, level, before: old_spte as Spte, after: new_spte as Spte };
  }
}

function changedSpte(fields: KvmEventFields["kvm_tdp_mmu_spte_changed"]): PageSpte | null {
  const level = entryLevel(fields.level);
  const { gfn, old_spte, new_spte } = fields;
  return level === null ? null : { gfn, level, before: old_spte as Spte, after: new_spte as Spte };
}
