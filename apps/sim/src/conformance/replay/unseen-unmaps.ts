import type { Hva } from "@kvm-age/memslot";
import { isLastSpte, isShadowPresentPte, type Spte } from "@kvm-age/spte";
import type { KvmEvent } from "@kvm-age/trace";
import type { ReplayContext } from "./replay-context.js";

const PAGE_BYTES = 4096;
const PAGES_PER_TABLE = 512;

/**
 * Invalidations that cannot be followed, because nothing in a trace without notes tells which guest pages the owner's range holds: what the
 * kernel zapped shows in its events, or, where it has none, in the guest that finds no entry any more.
 */
export class UnseenUnmaps {
  /** How many leaves were taken to be invalidated. */
  count = 0;

  constructor(private readonly context: ReplayContext) {}

  /** Leaves that an invalidation zapped although its range, by what is known of the slots, does not hold their pages. */
  adoptFromEvents(
    range: { readonly start: number; readonly end: number },
    events: readonly KvmEvent[],
  ): void {
    if (this.context.start !== null) return;
    for (const event of events) {
      if (event.name !== "kvm_tdp_mmu_spte_changed" || !zapsLeaf(event)) return;
      const { gfn, level } = event.fields;
      const hva = this.context.slots.hvaOf(gfn);
      if (hva === null || (hva >= range.start && hva < range.end)) continue;
      const end = hva + PAGES_PER_TABLE ** (level - 1) * PAGE_BYTES;
      this.context.vm.host.forget(hva, end);
      this.unmap(hva, end);
    }
  }

  /** The guest found no entry for a page that the model maps. What the owner has there by now is already known. */
  adoptFromFault(gfn: number): void {
    const hva = this.context.slots.hvaOf(gfn);
    if (hva !== null) this.unmap(hva, hva + PAGE_BYTES);
  }

  private unmap(start: number, end: number): void {
    const { vm } = this.context;
    const range = { start: start as Hva, end: end as Hva, blockable: true };
    vm.notifier.invalidateRangeStart(vm.cpu, range);
    vm.notifier.invalidateRangeEnd(vm.cpu, range);
    vm.kvm.takeCalls();
    this.count++;
  }
}

function zapsLeaf({ fields }: KvmEvent & { name: "kvm_tdp_mmu_spte_changed" }): boolean {
  const old = fields.old_spte as Spte;
  return (
    isShadowPresentPte(old) &&
    isLastSpte(old, fields.level as 1) &&
    !isShadowPresentPte(fields.new_spte as Spte)
  );
}
