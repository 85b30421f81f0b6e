/** What differs between kernels in the structure of the shadow MMU, as data. */
export interface ShadowRules {
  /**
   * When the hash of shadow pages of a VM with the TDP MMU is allocated: with the VM, or with its first shadow root. Other VMs
   * have it from the start.
   */
  readonly pageHash: "with-vm" | "with-first-shadow-root";
  /**
   * Whether `mmu_try_to_unsync_pages` takes a gfn that may be mapped by a 2 MiB page for one that nobody shadows, without looking
   * into the hash.
   */
  readonly unsyncTrustsLpageInfo: boolean;
  /** Whether an emulated write to a guest table also zaps the nested tables that its entries led to, if nothing else does. */
  readonly trackWriteZapsNestedChildren: boolean;
}

/** Linux 6.15. */
export const linux615ShadowRules: ShadowRules = Object.freeze({
  pageHash: "with-vm",
  unsyncTrustsLpageInfo: false,
  trackWriteZapsNestedChildren: false,
});

/** Linux 7.3. */
export const linux73ShadowRules: ShadowRules = Object.freeze({
  pageHash: "with-first-shadow-root",
  unsyncTrustsLpageInfo: true,
  trackWriteZapsNestedChildren: true,
});
