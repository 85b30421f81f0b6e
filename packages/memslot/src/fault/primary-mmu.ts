import type { Cpu } from "@kvm-age/machine";
import type { Pfn, PgLevel } from "@kvm-age/spte";
import type { Hva } from "../address/hva.js";

/** How a page is looked up. */
export interface HvaToPfnRequest {
  /** The access is a write: the mapping must be writable, and is made so (`FOLL_WRITE`). */
  readonly write: boolean;
  /**
   * For a read: whether a mapping that is, or by a second quick lookup proves, writable is reported as such.
   */
  readonly allowWritable: boolean;
  /** Answer `needs-io` instead of waiting for I/O (`FOLL_NOWAIT`). */
  readonly noWait: boolean;
  /** A signal ends the wait (`FOLL_INTERRUPTIBLE`). */
  readonly interruptible: boolean;
}

/** Why a lookup gave no page: the kernel's `KVM_PFN_ERR_*` by name. */
export type KvmPfnError = "fault" | "hwpoison" | "ro-fault" | "sigpending" | "needs-io";

/** A page with a reference that the caller returns by `releasePage`, or an error. */
export type HvaToPfnResult =
  | { readonly error: null; readonly pfn: Pfn; readonly mapWritable: boolean }
  | { readonly error: KvmPfnError };

/** How the page was used: not at all, mapped read-only, or mapped writable (`kvm_release_page_*`). */
export type ReleaseHow = "unused" | "clean" | "dirty";

/** What KVM needs of the page tables of the process that owns the VM. */
export interface PrimaryMmu {
  /** `hva_to_pfn`: faults the page in if necessary. Sleeps unless `noWait`. Held: SRCU; never `mmu_lock`. */
  hvaToPfn(cpu: Cpu, hva: Hva, request: HvaToPfnRequest): HvaToPfnResult;
  /**
   * `host_pfn_mapping_level`: level of the present leaf at `hva`, 1 … 3, and 1 if there is none. Walks
   * without a lock, reading each entry once. Held: SRCU, and an invalidation check that will still be made or
   * `mmu_lock`.
   */
  hostPfnMappingLevel(cpu: Cpu, hva: Hva): PgLevel;
  /** Returns the reference that `hvaToPfn` took. */
  releasePage(cpu: Cpu, pfn: Pfn, how: ReleaseHow): void;
}
