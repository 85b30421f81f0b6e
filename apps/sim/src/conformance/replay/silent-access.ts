import { spteAdEnabled } from "@kvm-age/spte";
import type { KvmEvent } from "@kvm-age/trace";
import { logModifiedPage } from "../model/page-modification-log.js";
import type { ReplayContext } from "./replay-context.js";

const PAGE_BYTES = 4096n;
const LEAF_LEVELS = [1, 2, 3];

/**
 * Accesses that no note tells of: of the guest's code, stack and page tables, of guests that run while a trace is taken, of every page in
 * a trace without notes. Hardware sets Accessed and Dirty without a trace; they show in the old value of the next change.
 */
export class SilentAccesses {
  /** How many have been inferred. */
  count = 0;

  constructor(
    private readonly context: ReplayContext,
    /** Whether the processor logs the pages that it makes dirty (PML). */
    private readonly logsWrites: boolean,
  ) {}

  /** Before a change whose old value the kernel printed: sets in the model's leaf what only hardware can have set in the kernel's. */
  adoptFromEvents(events: readonly KvmEvent[]): void {
    for (const event of events) {
      if (event.name !== "kvm_tdp_mmu_spte_changed") continue;
      const { gfn, level, old_spte } = event.fields;
      if (this.allowed(gfn)) this.adopt(gfn, level, old_spte);
    }
  }

  /** Before a fault that is fixed without `mmu_lock`: its event has the old value, too, and no level. */
  adoptFromFastFault(events: readonly KvmEvent[]): void {
    for (const event of events) {
      if (event.name !== "fast_page_fault") continue;
      const gfn = Number(event.fields.gva / PAGE_BYTES);
      if (!this.allowed(gfn)) continue;
      for (const level of LEAF_LEVELS) this.adopt(gfn, level, event.fields.old_spte);
    }
  }

  /** Before an aging call of which the kernel said "young": sets Accessed in the first leaf of the range, if all are old. */
  adoptYoung(start: number, end: number): void {
    const { tables, identity } = this.context;
    if (!identity.format.kvmAdEnabled || !this.allowed(start)) return;
    const leaves = tables.range(this.context.root(), start, end - start).filter(({ last }) => last);
    const accessed = identity.format.shadowAccessedMask;
    const first = leaves[0];
    if (first === undefined || leaves.some(({ spte }) => (spte & accessed) !== 0n)) return;
    this.set(first.address, accessed);
  }

  /** Sets in the leaf of `gfn` what was set in the kernel's, if only hardware can have done it. */
  adopt(gfn: number, level: number, printed: bigint): void {
    const { format } = this.context.identity;
    const byHardware = format.shadowAccessedMask | format.shadowDirtyMask;
    for (const { address, last, spte } of this.context.vcpus.entries(gfn, level)) {
      const missing = printed & ~spte;
      const differsElsewhere = (spte & ~printed) !== 0n || (missing & ~byHardware) !== 0n;
      if (!last || missing === 0n || differsElsewhere || !spteAdEnabled(format, spte)) continue;
      this.set(address, missing);
      if (this.logsWrites && (missing & format.shadowDirtyMask) !== 0n) this.log(gfn);
      return;
    }
  }

  private set(address: Parameters<ReplayContext["vm"]["cpu"]["fetchOr"]>[0], bits: bigint): void {
    this.context.vm.cpu.fetchOr(address, bits, "relaxed");
    this.count++;
  }

  private log(gfn: number): void {
    const { memslots, cpu } = this.context.vm;
    logModifiedPage(memslots, cpu, gfn);
  }

  /** Whether the notes leave open what the guest does with a page. */
  private allowed(gfn: number): boolean {
    return this.context.guest.areUnknown(gfn);
  }
}
