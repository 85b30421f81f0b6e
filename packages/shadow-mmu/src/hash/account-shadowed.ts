import type { Cpu } from "@kvm-age/machine";
import {
  kvmMmuGfnAllowLpage,
  kvmMmuGfnDisallowLpage,
  kvmWriteTrackAddGfn,
  kvmWriteTrackRemoveGfn,
  NULL_SLOT,
  type Slot,
} from "@kvm-age/memslot";
import { kvmMmuRoleAsId, PG_LEVEL_4K, roleLevel } from "@kvm-age/spte";
import { kvmMmuSlotGfnWriteProtect } from "../dirty/kvm-mmu-slot-gfn-write-protect.js";
import { ShadowPageCorruptionError } from "../errors.js";
import { type KvmMmuPage, spGfn, spRole } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";

/** The slot whose page the shadowed table is, in the address space of its role. */
function slotOfShadowed(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): Slot {
  const gfn = spGfn(cpu, sp);
  const slot = mmu.memslots.gfnToMemslot(cpu, kvmMmuRoleAsId(spRole(cpu, sp)), gfn);
  if (slot === NULL_SLOT) throw new ShadowPageCorruptionError("shadowed table outside every slot", { gfn });
  return slot;
}

function addIndirectShadowPages(mmu: ShadowMmu, cpu: Cpu, addend: 1 | -1): void {
  // Written by the holder of `mmu_lock` alone; readers without it see the value before or after.
  const word = mmu.indirectShadowPagesWord;
  cpu.writeOnce32(word, cpu.readOnce32(word) + addend);
}

/**
 * `account_shadowed`: a page begins to shadow the guest table at its gfn, which is write-protected from now on, as long as
 * the page is not unsync. A table above 4 KiB is tracked and can never be unsync. Held: `mmu_lock` for write, and
 * `slots_lock` or SRCU.
 *
 * @throws ShadowPageCorruptionError if the gfn is in no slot.
 */
export function accountShadowed(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): void {
  addIndirectShadowPages(mmu, cpu, 1);
  // Pairs with the barrier in `kvm_mmu_track_write`: either that writer sees the count and zaps what this fault is about to
  // shadow, or this fault, which reads the guest's entries again after this, sees what was written.
  cpu.smpMb();
  const slot = slotOfShadowed(mmu, cpu, sp);
  const gfn = spGfn(cpu, sp);
  if (roleLevel(spRole(cpu, sp)) > PG_LEVEL_4K) kvmWriteTrackAddGfn(mmu.memslots, cpu, slot, gfn);
  else kvmMmuGfnDisallowLpage(cpu, slot, gfn);
  if (kvmMmuSlotGfnWriteProtect(mmu, cpu, slot, gfn, PG_LEVEL_4K)) {
    cpu.flushRemoteTlbs(mmu.flushDomain, null);
  }
}

/**
 * `unaccount_shadowed`: undoes the counts of `accountShadowed`. Write access is not given back: the next write fault does.
 * Held: the same.
 *
 * @throws ShadowPageCorruptionError if the gfn is in no slot.
 */
export function unaccountShadowed(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): void {
  addIndirectShadowPages(mmu, cpu, -1);
  const slot = slotOfShadowed(mmu, cpu, sp);
  const gfn = spGfn(cpu, sp);
  if (roleLevel(spRole(cpu, sp)) > PG_LEVEL_4K) kvmWriteTrackRemoveGfn(mmu.memslots, cpu, slot, gfn);
  else kvmMmuGfnAllowLpage(cpu, slot, gfn);
}
