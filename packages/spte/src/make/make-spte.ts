import { markSpteForAccessTrack } from "../access-track/mark-spte-for-access-track.js";
import type { Gfn } from "../address/gfn.js";
import type { Pfn } from "../address/pfn.js";
import type { Spte } from "../address/spte.js";
import { PT_PAGE_SIZE_MASK, PT_PRESENT_MASK, PT_WRITABLE_MASK } from "../format/hardware-bits.js";
import { SHADOW_NONPRESENT_VALUE, SPTE_MMU_PRESENT_MASK } from "../format/spte-constants.js";
import type { SpteFormat } from "../format/spte-format.js";
import { PG_LEVEL_4K, type PgLevel } from "../level/pg-level.js";
import { isLastSpte } from "../predicate/is-last-spte.js";
import { isWritablePte } from "../predicate/writability.js";
import { isRsvdSpte } from "../rsvd/is-rsvd-spte.js";
import type { RsvdBits } from "../rsvd/rsvd-bits.js";

/** Everything `makeSpte` depends on besides the format: the arguments of `make_spte` and its questions' answers. */
export interface MakeSpteInput {
  /** Level of the table that will hold the entry, 1 to 3 (`sp->role.level`). */
  readonly level: PgLevel;
  /** The table's entries have software A/D bits (`sp->role.ad_disabled`). */
  readonly adDisabled: boolean;
  /** The table belongs to a nested guest (`sp->role.guest_mode`). */
  readonly guestMode: boolean;
  /** The CPU logs dirty pages (PML). */
  readonly cpuDirtyLog: boolean;
  /** What the guest's own translation allows, in the rule set's access bits; `accAll` for direct maps. */
  readonly pteAccess: number;
  readonly gfn: Gfn;
  readonly pfn: Pfn;
  /** Value about to be replaced. */
  readonly oldSpte: Spte;
  /** The access is speculative. */
  readonly prefetch: boolean;
  /** An unsync shadow page is being re-synced. */
  readonly synchronizing: boolean;
  /** The host mapping allows writes. */
  readonly hostWritable: boolean;
  /** The memslot logs dirty pages (`kvm_slot_dirty_track_enabled`). */
  readonly slotDirtyLogging: boolean;
  /** The NX-huge-page mitigation is on for the VM. */
  readonly nxHugePageMitigation: boolean;
  /** The pfn is host MMIO rather than RAM. */
  readonly isMmioPfn: boolean;
  /** Bits of the vendor's memory-type hook; used in EPT formats only. */
  readonly memoryType: bigint;
  /**
   * Asks whether the gfn can be made writable although it may hold a shadowed guest page table
   * (`mmu_try_to_unsync_pages`): non-zero means no. `null` where there are no shadow pages. Called at most
   * once, and only when W is about to be granted anew.
   */
  readonly tryToUnsyncPages: (() => number) | null;
  /** Reserved bits of the current MMU; without it the check is left out. */
  readonly shadowZeroCheck?: RsvdBits;
  /** The CPU must clear buffers when a guest can reach host MMIO, and the root is not marked yet. Default false. */
  readonly hostMmioUnmarked?: boolean;
}

/** The new entry, and what the caller has to do about it. */
export interface MakeSpteResult {
  readonly spte: Spte;
  /** Write permission was wanted and refused, because the gfn holds a shadowed guest page table. */
  readonly wrprot: boolean;
  /** `tryToUnsyncPages` was asked. */
  readonly unsyncCalled: boolean;
  /** The memory type was asked for. */
  readonly memtypeCalled: boolean;
  /** The caller must mark the gfn dirty in its slot. */
  readonly markSlotDirty: boolean;
  /** The caller must mark the root as reaching host MMIO and kick all vCPUs out of guest mode. */
  readonly markHostMmio: boolean;
  /** Kernel warnings raised. */
  readonly warnings: number;
}

/** Who maintains A and D for the new entry. */
function adType(format: SpteFormat, input: MakeSpteInput): bigint {
  if (input.adDisabled) return format.rules.spteTdpAdDisabled;
  return input.cpuDirtyLog && input.guestMode ? format.rules.spteTdpAdWrprotOnly : 0n;
}

/** Access bits left after the NX-huge-page mitigation and the host mapping had their say. */
function effectiveAccess(format: SpteFormat, input: MakeSpteInput): number {
  const { accExecMask, accUserMask, accWriteMask } = format.rules;
  let access = input.pteAccess;
  if (input.level > PG_LEVEL_4K && input.nxHugePageMitigation) {
    access &= ~accExecMask;
    if (format.shadowXuMask !== 0n) access &= ~accUserMask;
  }
  return input.hostWritable ? access : access & ~accWriteMask;
}

/** Read, user and execute permission; W is decided later. */
function permissionBits(format: SpteFormat, access: number): bigint {
  const { accReadMask, accUserMask, accExecMask } = format.rules;
  const read = (access & accReadMask) !== 0 ? PT_PRESENT_MASK : 0n;
  const exec = (access & accExecMask) !== 0 ? format.shadowXsMask : format.shadowNxMask;
  const user = (access & accUserMask) !== 0 ? format.shadowUserMask | format.shadowXuMask : 0n;
  return BigInt.asUintN(64, read | exec | user);
}

/** Frame, page size, memory type, encryption and Host-writable. */
function mappingBits(format: SpteFormat, input: MakeSpteInput): bigint {
  return BigInt.asUintN(
    64,
    BigInt.asUintN(64, BigInt(input.pfn) << 12n) |
      (input.level > PG_LEVEL_4K ? PT_PAGE_SIZE_MASK : 0n) |
      (format.shadowMemtypeMask !== 0n ? input.memoryType : 0n) |
      (input.isMmioPfn ? 0n : format.shadowMeValue) |
      (input.hostWritable ? format.shadowHostWritableMask : 0n),
  );
}

/** Whether somebody, CPU or KVM, keeps A and D in the new entry. */
function hasAdBits(format: SpteFormat, input: MakeSpteInput): boolean {
  return format.rules.softwareAdBits || !input.adDisabled;
}

/** Whether the old value is writable at this level; as in the kernel it is examined without a look at its present bit. */
function replacesWritable(input: MakeSpteInput): boolean {
  return isLastSpte(input.oldSpte, input.level) && isWritablePte(input.oldSpte);
}

/** What a writable entry has of D from the start. */
function bornDirty(format: SpteFormat, input: MakeSpteInput): bigint {
  if (!hasAdBits(format, input)) return 0n;
  return format.rules.dirtyOnRewrite || !replacesWritable(input) ? format.shadowDirtyMask : 0n;
}

/** Kernel warnings for this call: no access at all, reserved bits, a writable huge page under dirty logging. */
function countWarnings(format: SpteFormat, input: MakeSpteInput, spte: Spte, markSlotDirty: boolean): number {
  const accessless = (BigInt(input.pteAccess) | format.shadowPresentMask) === SHADOW_NONPRESENT_VALUE;
  const check = input.shadowZeroCheck;
  const reserved = check !== undefined && isRsvdSpte(format, check, spte, input.level);
  const hugeDirty = markSlotDirty && input.level > PG_LEVEL_4K;
  return (accessless ? 1 : 0) + (reserved ? 1 : 0) + (hugeDirty ? 1 : 0);
}

/**
 * Builds the leaf for a mapping (`make_spte`). Pure: questions to the environment come in as answers or, for
 * the one with side effects, as a callback, and what the caller has to do comes out in the result.
 *
 * A demand fault yields A set; a writable entry is born dirty; a prefetched entry is born aged.
 */
export function makeSpte(format: SpteFormat, input: MakeSpteInput): MakeSpteResult {
  const access = effectiveAccess(format, input);
  const demand = !input.prefetch || (input.synchronizing && format.rules.resyncKeepsAccessed);
  let spte = BigInt.asUintN(
    64,
    SPTE_MMU_PRESENT_MASK |
      format.shadowPresentMask |
      adType(format, input) |
      (demand && hasAdBits(format, input) ? format.shadowAccessedMask : 0n) |
      permissionBits(format, access) |
      mappingBits(format, input),
  );
  const wantsWrite = (access & format.rules.accWriteMask) !== 0;
  const unsyncCalled = wantsWrite && input.tryToUnsyncPages !== null && !replacesWritable(input);
  const wrprot = unsyncCalled && input.tryToUnsyncPages!() !== 0;
  if (wantsWrite && !wrprot) {
    spte = BigInt.asUintN(
      64,
      spte | PT_WRITABLE_MASK | format.shadowMmuWritableMask | bornDirty(format, input),
    );
  }
  const finished = demand ? (spte as Spte) : markSpteForAccessTrack(format, spte as Spte);
  const markSlotDirty = input.slotDirtyLogging && isWritablePte(finished);
  return {
    spte: finished,
    wrprot,
    unsyncCalled,
    memtypeCalled: format.shadowMemtypeMask !== 0n,
    markSlotDirty,
    markHostMmio: format.rules.marksHostMmio && input.isMmioPfn && input.hostMmioUnmarked === true,
    warnings: countWarnings(format, input, finished, markSlotDirty),
  };
}
