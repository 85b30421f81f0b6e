import { type Address, type Cpu, offset } from "@kvm-age/machine";
import {
  gfnToHva,
  kvmIsErrorHva,
  kvmSlotDirtyTrackEnabled,
  NULL_SLOT,
  PAGE_SIZE,
  type Slot,
  slotBaseGfn,
  slotIsInvalid,
  slotNpages,
  toHva,
} from "@kvm-age/memslot";
import type { Gfn, Pfn } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { mmuSetSpte } from "./mmu-set-spte.js";

/**
 * `gfn_to_memslot_dirty_bitmap`: the slot of `gfn` in the vCPU's address space, `NULL_SLOT` also if it is going away or if a writable
 * mapping would have to be logged.
 */
function slotForPrefetch(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, gfn: Gfn, writable: boolean): Slot {
  const slot = mmu.memslots.gfnToMemslot(cpu, cpu.readOnce32(vcpu.inSmmWord), gfn);
  if (slot === NULL_SLOT || slotIsInvalid(cpu, slot)) return NULL_SLOT;
  return writable && kvmSlotDirtyTrackEnabled(cpu, slot) ? NULL_SLOT : slot;
}

/** `kvm_prefetch_pages`: the host's pages from `gfn` on, with references, up to the first one that cannot be had at once. */
function prefetchPages(mmu: ShadowMmu, cpu: Cpu, slot: Slot, gfn: Gfn, count: number): Pfn[] {
  const pfns: Pfn[] = [];
  const hva = gfnToHva(cpu, slot, gfn, true);
  if (kvmIsErrorHva(hva) || gfn + count > slotBaseGfn(cpu, slot) + slotNpages(cpu, slot)) return pfns;
  for (let index = 0; index < count; index++) {
    const pfn = mmu.host.getUserPageFastOnly(cpu, toHva(hva + index * PAGE_SIZE));
    if (pfn === null) break;
    pfns.push(pfn);
  }
  return pfns;
}

/**
 * `kvm_mmu_prefetch_sptes`: maps up to `count` (1 … 8) pages from `gfn` on at entries from `sptep` on, as far as the host has them
 * writable and at hand. Held: `mmu_lock` for write, with no invalidation in progress.
 *
 * The host is told at once that the pages are dirty: a fast page fault may make such an entry writable without telling it.
 *
 * @param access what the guest's own translation allows, in the rule set's access bits
 * @returns whether anything was mapped; false means that there is no use in going on
 */
export function kvmMmuPrefetchSptes(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  gfn: Gfn,
  sptep: Address,
  count: number,
  access: number,
): boolean {
  const writable = (access & mmu.format.rules.accWriteMask) !== 0;
  const slot = slotForPrefetch(mmu, cpu, vcpu, gfn, writable);
  if (slot === NULL_SLOT) return false;
  const pfns = prefetchPages(mmu, cpu, slot, gfn, count);
  for (const [index, pfn] of pfns.entries()) {
    const at = offset(sptep, index * 8);
    mmuSetSpte(mmu, cpu, vcpu, slot, at, access, (gfn + index) as Gfn, pfn, null);
    mmu.host.releasePage(cpu, pfn, "dirty");
  }
  return pfns.length > 0;
}
