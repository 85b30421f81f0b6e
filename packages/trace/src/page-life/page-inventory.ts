import { isLastSpte, isShadowPresentPte, kvmPagesPerHpage, type Spte, type SpteFormat } from "@kvm-age/spte";
import type { TraceRecord } from "../schema/trace-record.js";
import { AgingCalls } from "../state/aging-calls.js";
import { entryLevel } from "../state/entry-level.js";
import { GuestMemoryMap, type GuestMemoryRange } from "../state/guest-memory-map.js";
import { learnFromAgingCall, learnFromNote } from "../state/learn-memory.js";
import { PageRanges } from "../state/page-ranges.js";

/** Which guest frames a trace has something about, and where they stand in the host. */
export class PageInventory {
  readonly gfns: PageRanges = new PageRanges();
  readonly map: GuestMemoryMap = new GuestMemoryMap();
  readonly #calls: AgingCalls;

  /** @param slots places of guest memory that the user gives */
  constructor(format: SpteFormat, slots: readonly GuestMemoryRange[] = []) {
    this.#calls = new AgingCalls(format);
    for (const slot of slots) this.map.add(slot);
  }

  observe(record: TraceRecord): void {
    const call = this.#calls.observe(record);
    if (call !== null) learnFromAgingCall(this.map, call);
    if (record.kind === "note") learnFromNote(this.map, record);
    if (record.kind !== "kvm") return;
    if (record.name === "kvm_mmu_spte_requested") this.gfns.add(record.fields.gfn, record.fields.gfn + 1);
    if (record.name === "kvm_mmu_set_spte") {
      this.#addLeaf(record.fields.gfn, record.fields.level, record.fields.spte);
    }
    if (record.name !== "kvm_tdp_mmu_spte_changed") return;
    const { gfn, level, old_spte, new_spte } = record.fields;
    this.#addLeaf(gfn, level, old_spte);
    this.#addLeaf(gfn, level, new_spte);
  }

  /** To be called at the end of the trace: takes the calls that it cuts off. */
  finish(): void {
    for (const call of this.#calls.finish()) learnFromAgingCall(this.map, call);
  }

  #addLeaf(gfn: number, level: number, spte: bigint): void {
    const pgLevel = entryLevel(level);
    if (pgLevel === null || !isShadowPresentPte(spte as Spte) || !isLastSpte(spte as Spte, pgLevel)) return;
    this.gfns.add(gfn, gfn + kvmPagesPerHpage(pgLevel));
  }
}
