import type { Spte } from "../address/spte.js";
import type { VolatileRule } from "../update/volatile-rule.js";

/**
 * Where the memslot generation sits in an MMIO SPTE: two runs of bits around the gfn
 * (kernel `MMIO_SPTE_GEN_LOW_MASK`, `MMIO_SPTE_GEN_HIGH_MASK` and their shifts).
 */
export interface MmioGenerationLayout {
  /** Bits of the generation that are stored; the rest is lost and compared modulo. */
  readonly mask: bigint;
  /** SPTE bits of the low run. */
  readonly lowMask: bigint;
  /** Left shift from generation to low run. */
  readonly lowShift: bigint;
  /** SPTE bits of the high run. */
  readonly highMask: bigint;
  /** Left shift from generation to high run. */
  readonly highShift: bigint;
}

/**
 * The movable part of `union kvm_mmu_page_role`. Bits that have kept their place in every kernel covered
 * (level 3:0, 4-byte gpte 4, quadrant 6:5, direct 7, A/D disabled 16, guest mode 17, passthrough 18,
 * mirror 19, smm 31:24) are not listed. `null` means that the word has no such bit.
 */
export interface RoleLayout {
  /** Width in bits of the access field, which starts at bit 8. */
  readonly accessWidth: number;
  readonly invalid: number;
  readonly eferNx: number;
  readonly cr0Wp: number;
  readonly smepAndnotWp: number | null;
  readonly smapAndnotWp: number | null;
  /** SMEP; for TDP roots, mode-based execute control (EPT) or guest-mode execute trap (NPT). */
  readonly cr4Smep: number | null;
}

/**
 * What differs between kernels in the format of an entry and in the rules for it, as data. A new kernel is
 * a new value of this type; nothing in the code asks for the name.
 */
export interface RuleSet {
  /** For humans and result files, e.g. `linux-7.3`. */
  readonly name: string;

  /** Value a TDP MMU slot has while one thread is replacing it (`FROZEN_SPTE`). */
  readonly frozenSpte: Spte;

  /** Field that says how Accessed and Dirty are to be read (`SPTE_TDP_AD_MASK`); all-zero = enabled. */
  readonly spteTdpAdMask: bigint;
  /** A/D bits are software bits (`SPTE_TDP_AD_DISABLED`). */
  readonly spteTdpAdDisabled: bigint;
  /** A/D bits exist, but dirty logging must write-protect (`SPTE_TDP_AD_WRPROT_ONLY`). */
  readonly spteTdpAdWrprotOnly: bigint;

  /**
   * Whether KVM keeps A and D itself, at the places of the hardware bits, in entries whose A/D bits the CPU does not maintain. If not, such
   * an entry has neither: it counts as accessed unless it is access-tracked, and as dirty if it is writable.
   */
  readonly softwareAdBits: boolean;
  /** Whether an entry that is re-synced with the guest's counts as used, as one made for an access does, and not as a prefetch. */
  readonly resyncKeepsAccessed: boolean;
  /** Whether a writable leaf is born dirty even if it replaces a writable leaf; else that one's dirtiness was accounted for. */
  readonly dirtyOnRewrite: boolean;

  /** Permission bits saved by access tracking (`SHADOW_ACC_TRACK_SAVED_BITS_MASK`); never W. */
  readonly accTrackSavedBitsMask: bigint;
  /** How far left they are saved (`SHADOW_ACC_TRACK_SAVED_BITS_SHIFT`). */
  readonly accTrackSavedBitsShift: bigint;

  /** EPT: bit that says the host mapping is writable (`EPT_SPTE_HOST_WRITABLE`). */
  readonly eptSpteHostWritable: bigint;
  /** EPT: bit that says KVM may set W without `mmu_lock` (`EPT_SPTE_MMU_WRITABLE`). */
  readonly eptSpteMmuWritable: bigint;
  /** EPT: bits cleared by access tracking (`shadow_acc_track_mask`). */
  readonly eptAccTrackMask: bigint;
  /** EPT: whether `shadow_present_mask` brings R along (unless execute-only entries are possible). */
  readonly eptPresentMaskCarriesRead: boolean;
  /** EPT: bit set for ACC_USER (`shadow_user_mask`). */
  readonly eptUserMask: bigint;
  /** EPT: supervisor-execute bit, or the only execute bit (`shadow_xs_mask`, 6.15 `shadow_x_mask`). */
  readonly eptXsMask: bigint;
  /** EPT: user-execute bit (`shadow_xu_mask`); 0 where the kernel does not have one. */
  readonly eptXuMask: bigint;

  readonly mmioGeneration: MmioGenerationLayout;
  /** Bits an MMIO mask may use (`SPTE_MMIO_ALLOWED_MASK`). */
  readonly spteMmioAllowedMask: bigint;

  /** ACC_READ_MASK; 0 where reading is implied. */
  readonly accReadMask: number;
  readonly accWriteMask: number;
  /** ACC_USER_MASK; what it stands for under EPT depends on the rule set. */
  readonly accUserMask: number;
  readonly accExecMask: number;
  /** Union of all access bits (ACC_ALL). */
  readonly accAll: number;

  readonly role: RoleLayout;

  /** How an entry is tested against a fault: its own bits (`is_access_allowed`) or a table of permission words. */
  readonly accessCheck: "entry-bits" | "permission-table";
  /** What splitting to 4 KiB under the NX-huge-page mitigation does with execution (`make_small_spte`). */
  readonly splitExecute: "add-if-role-allows" | "recompute-from-role";
  /** Whether mapping host MMIO marks the root, for CPUs that must clear buffers before such a guest runs. */
  readonly marksHostMmio: boolean;
  /** Whether creating an MMIO SPTE without MMIO caching is a warning. */
  readonly warnsOnMmioSpteWithoutCaching: boolean;

  /**
   * When a plain store over a present leaf could lose an update, in a kernel that is nothing but this rule set (`spte_needs_atomic_update`).
   * An MMU goes by its own option: which rule is right depends on whether it ages under `mmu_lock`.
   */
  readonly volatileRule: VolatileRule;
  /**
   * Shadow MMU: what of a leaf must go for a flush to be due (`mmu_spte_update`): MMU-writable; or W while MMU-writable was set, or A, or D.
   */
  readonly mmuSpteUpdateFlush: "mmu-writable-lost" | "writable-accessed-or-dirty-lost";

  /** How aging clears A where the CPU maintains it: an unconditional atomic AND, or one compare-exchange. */
  readonly agingUpdate: "fetch-and" | "cmpxchg";
  /** Where a lockless rmap walk starts: at the head, read again, or at the value the rmap lock returned. */
  readonly rmapWalkStart: "head" | "locked-value";

  /**
   * Whether the error code that KVM makes of an EPT violation calls a read a user access (`PFERR_USER_MASK`). Where a mapping has a bit for
   * reading, a read is an access without flags.
   */
  readonly eptReadReportsUser: boolean;

  /** TDP MMU: whether a removed table is torn down after the event of the entry that pointed to it, or before. */
  readonly tdpTeardownOrder: "after-event" | "before-event";
  /** TDP MMU: the roots whose leaves aging looks at: valid ones, or those that wait to be zapped as well. */
  readonly tdpAgedRoots: "valid" | "all";
  /** TDP MMU: which present entries make a prefetch spurious: none, any, or leaves only. */
  readonly tdpPrefetchSpurious: "none" | "present" | "leaf";
  /** TDP MMU: whether a leaf that allows the access makes a fault spurious; else the leaf is built anew and compared. */
  readonly tdpAllowedSpurious: boolean;
  /**
   * TDP MMU: what becomes of small pages that could be huge once dirty logging is off: their table is zapped and the next fault maps a huge
   * page, or a huge leaf made of one of them replaces it.
   */
  readonly tdpDirtyLogOff: "zap" | "make-huge";
  /** TDP MMU: how one table is removed for NX recovery: a store under write, or a compare-exchange under read. */
  readonly tdpZapSp: "write-lock" | "read-lock";

  /**
   * Shadow MMU: when the hash of shadow pages of a VM with the TDP MMU is allocated: with the VM, or with its first shadow root. Other VMs
   * have it from the start.
   */
  readonly shadowPageHash: "with-vm" | "with-first-shadow-root";
  /**
   * Shadow MMU: whether `mmu_try_to_unsync_pages` takes a gfn that may be mapped by a 2 MiB page for one that nobody shadows, without
   * looking into the hash.
   */
  readonly unsyncTrustsLpageInfo: boolean;
  /** Shadow MMU: whether an emulated write to a guest table also zaps nested tables that only its entries led to. */
  readonly trackWriteZapsNestedChildren: boolean;
}
