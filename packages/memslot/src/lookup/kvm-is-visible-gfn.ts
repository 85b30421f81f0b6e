import type { Cpu } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import type { Memslots } from "../memslots/memslots.js";
import { NULL_SLOT, slotId, slotIsInvalid } from "../slot/slot.js";
import { KVM_USER_MEM_SLOTS } from "../slot/slot-limits.js";

/**
 * Whether the guest may see memory at `gfn`: a user slot contains it and is not going away (kernel
 * `kvm_is_visible_gfn`).
 */
export function kvmIsVisibleGfn(memslots: Memslots, cpu: Cpu, asId: number, gfn: Gfn): boolean {
  const slot = memslots.gfnToMemslot(cpu, asId, gfn);
  return slot !== NULL_SLOT && slotId(cpu, slot) < KVM_USER_MEM_SLOTS && !slotIsInvalid(cpu, slot);
}
