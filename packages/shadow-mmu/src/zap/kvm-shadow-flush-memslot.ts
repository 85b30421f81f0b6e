import type { Cpu } from "@kvm-age/machine";
import { KVM_FILTER_PRIVATE, KVM_FILTER_SHARED, type Slot, slotBaseGfn, slotNpages } from "@kvm-age/memslot";
import type { Gfn } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import { kvmShadowZapAllFast } from "./kvm-mmu-zap-all-fast.js";
import { kvmMmuZapMemslotPagesAndFlush } from "./kvm-mmu-zap-memslot-pages-and-flush.js";
import { kvmShadowUnmapGfnRange } from "./kvm-shadow-unmap-gfn-range.js";

/** `kvm_mmu_zap_memslot`: removes what maps the slot and what shadows tables in it, and nothing else. */
function kvmMmuZapMemslot(mmu: ShadowMmu, cpu: Cpu, slot: Slot): void {
  const start = slotBaseGfn(cpu, slot);
  const range = {
    slot,
    start,
    end: (start + slotNpages(cpu, slot)) as Gfn,
    mayBlock: true,
    lockless: false,
    attrFilter: KVM_FILTER_PRIVATE | KVM_FILTER_SHARED,
  };
  cpu.writeLock(mmu.mmuLock);
  const flush = kvmShadowUnmapGfnRange(mmu, cpu, range, false);
  kvmMmuZapMemslotPagesAndFlush(mmu, cpu, slot, flush);
  cpu.writeUnlock(mmu.mmuLock);
}

/**
 * `kvm_arch_flush_shadow_memslot` of a VM without the TDP MMU: nothing maps or shadows anything in the slot any more. With
 * `options.slotZapAll` everything goes, at once and in one step. Held: `slots_lock`, and not `mmu_lock`.
 *
 * @param slot as it was before its INVALID copy became active
 */
export function kvmShadowFlushMemslot(mmu: ShadowMmu, cpu: Cpu, slot: Slot): void {
  if (mmu.options.slotZapAll) kvmShadowZapAllFast(mmu, cpu);
  else kvmMmuZapMemslot(mmu, cpu, slot);
}
