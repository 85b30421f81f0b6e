import type { Cpu } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import { type Hva, KVM_HVA_ERR_BAD, KVM_HVA_ERR_RO_BAD } from "../address/hva.js";
import { PAGE_SIZE } from "../address/page.js";
import { NULL_SLOT, type Slot, slotBaseGfn, slotFlags, slotNpages, slotUserspaceAddr } from "./slot.js";
import { KVM_MEM_READONLY, KVM_MEMSLOT_INVALID } from "./slot-flags.js";

/** Host virtual address of `gfn`, which must lie in the slot (kernel `__gfn_to_hva_memslot`). */
export function gfnToHvaMemslot(cpu: Cpu, slot: Slot, gfn: Gfn): Hva {
  return (slotUserspaceAddr(cpu, slot) + (gfn - slotBaseGfn(cpu, slot)) * PAGE_SIZE) as Hva;
}

/** Guest frame of `hva`, which must lie in the slot or at its end (kernel `hva_to_gfn_memslot`). */
export function hvaToGfnMemslot(cpu: Cpu, slot: Slot, hva: Hva): Gfn {
  const page = Math.floor((hva - slotUserspaceAddr(cpu, slot)) / PAGE_SIZE);
  return (slotBaseGfn(cpu, slot) + page) as Gfn;
}

/** First hva behind the slot. */
export function slotUserspaceEnd(cpu: Cpu, slot: Slot): Hva {
  return (slotUserspaceAddr(cpu, slot) + slotNpages(cpu, slot) * PAGE_SIZE) as Hva;
}

/**
 * Host virtual address for an access to `gfn` (kernel `__gfn_to_hva_many`): `KVM_HVA_ERR_BAD` without a slot
 * or for one that is being deleted or moved, `KVM_HVA_ERR_RO_BAD` for a write to a read-only slot.
 */
export function gfnToHva(cpu: Cpu, slot: Slot, gfn: Gfn, write: boolean): Hva {
  if (slot === NULL_SLOT) return KVM_HVA_ERR_BAD;
  const flags = slotFlags(cpu, slot);
  if ((flags & KVM_MEMSLOT_INVALID) !== 0) return KVM_HVA_ERR_BAD;
  if (write && (flags & KVM_MEM_READONLY) !== 0) return KVM_HVA_ERR_RO_BAD;
  return gfnToHvaMemslot(cpu, slot, gfn);
}
