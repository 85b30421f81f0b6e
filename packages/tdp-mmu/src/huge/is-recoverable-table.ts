import type { Cpu } from "@kvm-age/machine";
import { kvmMmuMaxMappingLevel, type PrimaryMmu, type Slot, slotBaseGfn, slotNpages } from "@kvm-age/memslot";
import { isLastSpte, isShadowPresentPte, KVM_MAX_HUGEPAGE_LEVEL } from "@kvm-age/spte";
import type { TdpIter } from "../iterator/tdp-iter.js";
import type { TdpMmu } from "../tdp-mmu.js";

/** Whether the entry points to a table whose whole range the slot may map by one huge leaf. */
export function isRecoverableTable(
  mmu: TdpMmu,
  cpu: Cpu,
  primary: PrimaryMmu,
  slot: Slot,
  iter: TdpIter,
): boolean {
  const { oldSpte, level, gfn } = iter;
  if (level > KVM_MAX_HUGEPAGE_LEVEL || !isShadowPresentPte(oldSpte) || isLastSpte(oldSpte, level))
    return false;
  const base = slotBaseGfn(cpu, slot);
  if (gfn < base || gfn >= base + slotNpages(cpu, slot)) return false;
  return kvmMmuMaxMappingLevel(mmu.memslots, cpu, primary, slot, gfn, KVM_MAX_HUGEPAGE_LEVEL) >= level;
}
