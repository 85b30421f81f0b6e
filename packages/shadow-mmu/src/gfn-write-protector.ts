import type { Cpu } from "@kvm-age/machine";
import type { Slot } from "@kvm-age/memslot";
import type { Gfn, PgLevel } from "@kvm-age/spte";

/** Another MMU that maps the same slots: what the shadow MMU must also have write-protected when it shadows a guest page table. */
export interface GfnWriteProtector {
  /**
   * The other half of `kvm_mmu_slot_gfn_write_protect`: clears W and MMU-writable of every mapping of `gfn` from `minLevel` up;
   * whether any was changed, so that a flush is due. Held: `mmu_lock` for write.
   */
  writeProtectGfn(cpu: Cpu, slot: Slot, gfn: Gfn, minLevel: PgLevel): boolean;
}

/** The form for a VM without another MMU. */
export const noOtherMmu: GfnWriteProtector = {
  writeProtectGfn(): boolean {
    return false;
  },
};
