import type { Cpu } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import type { Pfn } from "@kvm-age/spte";

/** The owner's page tables as far as they can be read under `mmu_lock`. */
export interface FastPageLookup {
  /**
   * `get_user_pages_fast_only` with `FOLL_WRITE`: the page at `hva` with a reference, which `releasePage` returns, if its mapping is
   * present and writable; else null. No locks, no fault, no sleep.
   */
  getUserPageFastOnly(cpu: Cpu, hva: Hva): Pfn | null;
}
