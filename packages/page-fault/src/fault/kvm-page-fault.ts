import { NULL_SLOT, type Slot } from "@kvm-age/memslot";
import {
  type Gfn,
  KVM_MAX_HUGEPAGE_LEVEL,
  PFERR_FETCH_MASK,
  PFERR_PRESENT_MASK,
  PFERR_USER_MASK,
  PFERR_WRITE_MASK,
  type Pfn,
  PG_LEVEL_4K,
  type PgLevel,
  type SpteAccess,
} from "@kvm-age/spte";

/** Page-fault error code: a reserved bit was set in an entry of the walk. */
export const PFERR_RSVD_MASK = 8;

/** `struct kvm_page_fault`: one fault while it is being handled. Local to one operation. */
export class KvmPageFault implements SpteAccess {
  /** Guest frame: that of `addr`, until a walk of the guest's own tables finds another. */
  gfn: Gfn;
  readonly exec: boolean;
  readonly write: boolean;
  readonly present: boolean;
  readonly rsvd: boolean;
  readonly user: boolean;
  /** The mitigation forbids an executable huge page for this access. */
  hugePageDisallowed = false;
  /** Largest level that may be used. */
  maxLevel: PgLevel = KVM_MAX_HUGEPAGE_LEVEL;
  /** Largest level that the slot and the host allow. */
  reqLevel: PgLevel = PG_LEVEL_4K;
  /** Level to be mapped. */
  goalLevel: PgLevel = PG_LEVEL_4K;
  slot: Slot = NULL_SLOT;
  /** `mmu_invalidate_seq` as it was before the page was looked up. */
  mmuSeq = 0n;
  /** Host frame of the faulting page; of the start of the huge page once the level is chosen. */
  pfn: Pfn = 0 as Pfn;
  mapWritable = false;
  /** Errno name if the fault failed; `EHWPOISON` with a retry: the task is to be signalled. */
  errno: string | null = null;

  /**
   * @param addr guest-physical address in bytes, below 2^52, or guest-linear, below 2^53, where the guest has tables of its own
   * @param errorCode page-fault error code (`PFERR_*`), an integer in [0, 2^53); bits above 31 are for the events
   * @param prefetch nobody waits for the page
   */
  constructor(
    readonly addr: number,
    readonly errorCode: number,
    readonly prefetch: boolean,
  ) {
    this.gfn = Math.floor(addr / 4096) as Gfn;
    this.exec = (errorCode & PFERR_FETCH_MASK) !== 0;
    this.write = (errorCode & PFERR_WRITE_MASK) !== 0;
    this.present = (errorCode & PFERR_PRESENT_MASK) !== 0;
    this.rsvd = (errorCode & PFERR_RSVD_MASK) !== 0;
    this.user = (errorCode & PFERR_USER_MASK) !== 0;
  }
}
