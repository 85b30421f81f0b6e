import {
  checkMmioSpte,
  checkSpteWritableInvariants,
  getMmioSpteAccess,
  getMmioSpteGeneration,
  getMmioSpteGfn,
  isAccessedSpte,
  isAccessTrackSpte,
  isEptVePossible,
  isExecutablePte,
  isFrozenSpte,
  isLargePte,
  isLastSpte,
  isMmioSpte,
  isMmuWritableSpte,
  isShadowPresentPte,
  isUserPte,
  isWritablePte,
  kvmTdpMmuSpteNeedAtomicUpdate,
  leafSpteChangeNeedsTlbFlush,
  makeHugeSpte,
  makeMmioSpte,
  makeMmioSpteWarnings,
  makeNonleafSpte,
  makeRole,
  makeSmallSpte,
  makeSpte,
  markSpteForAccessTrack,
  markSpteForAccessTrackWarnings,
  type PgLevel,
  restoreAccTrackSpte,
  type SpteFormat,
  spteAdEnabled,
  spteAdNeedWriteProtect,
  spteNeedsAtomicUpdate,
  spteNeedsAtomicUpdateUnder,
  sptePermissionFault,
  spteToPfn,
  toGfn,
  toPfn,
  toPgLevel,
  toSpte,
  updatePermissionBitmask,
  v9VolatileRule,
} from "../src/index.js";
import { type Fields, hex } from "./vector-file.js";

/** Computes the outputs of one case, in the form of the vector file, from its inputs alone. */
export type VectorFunction = (format: SpteFormat, input: Fields) => Fields;

const spteOf = (value: unknown) => toSpte(BigInt(value as string));
const gfnOf = (value: unknown) => toGfn(Number(value));
const levelOf = (value: unknown): PgLevel => toPgLevel(value as number);
const mitigation = (input: Fields): boolean =>
  input.nx_huge_pages === true && input.vm_disable_nx_huge_pages === false;

/** What the kernel's caller does with `markHostMmio`; only rule sets that track host MMIO report it. */
function hostMmioOut(format: SpteFormat, input: Fields, marked: boolean): Fields {
  if (!format.rules.marksHostMmio) return {};
  return {
    host_mmio_marked: input.host_mmio_already_seen === true || marked,
    vcpu_requests: marked ? 1 : 0,
  };
}

const makeSpteResults: VectorFunction = (format, input) => {
  let asked = 0;
  const result = makeSpte(format, {
    level: levelOf(input.level),
    adDisabled: input.role_ad_disabled === true,
    guestMode: input.role_guest_mode === true,
    cpuDirtyLog: input.pml === true,
    pteAccess: input.pte_access as number,
    gfn: gfnOf(input.gfn),
    pfn: toPfn(Number(input.pfn)),
    oldSpte: spteOf(input.old_spte),
    prefetch: input.prefetch === true,
    synchronizing: input.synchronizing === true,
    hostWritable: input.host_writable === true,
    slotDirtyLogging: input.slot_dirty_logging === true,
    nxHugePageMitigation: mitigation(input),
    isMmioPfn: input.is_mmio_pfn === true,
    memoryType: BigInt(input.vendor_memtype as string),
    tryToUnsyncPages: () => {
      asked++;
      return input.unsync_result as number;
    },
    hostMmioUnmarked: input.cpu_buf_clear_mmio === true && input.host_mmio_already_seen === false,
  });
  return {
    new_spte: hex(result.spte),
    wrprot: result.wrprot,
    unsync_called: asked === 1 && result.unsyncCalled,
    memtype_called: result.memtypeCalled,
    marked_slot_dirty: result.markSlotDirty,
    warnings: result.warnings,
    ...hostMmioOut(format, input, result.markHostMmio),
  };
};

const nonleafResults: VectorFunction = (format, input) => {
  const spte = makeNonleafSpte(format, BigInt(input.child_pt_pa as string), input.ad_disabled === true);
  return { spte: hex(spte), child_pfn: hex(spteToPfn(format, spte)) };
};

const hugeSplitResults: VectorFunction = (format, input) => {
  const role = makeRole(format.rules, {
    level: levelOf(input.child_role_level),
    access: input.child_role_access as number,
  });
  const child = makeSmallSpte(
    format,
    spteOf(input.huge_spte),
    role,
    input.index as number,
    mitigation(input),
  );
  return { child_spte: hex(child), warnings: 0 };
};

const makeHugeResults: VectorFunction = (format, input) => {
  const huge = makeHugeSpte(format, spteOf(input.small_spte), levelOf(input.level), mitigation(input));
  return { huge_spte: hex(huge), warnings: 0 };
};

const accessTrackResults: VectorFunction = (format, input) => {
  const spte = spteOf(input.spte);
  const marked = markSpteForAccessTrack(format, spte);
  const restored = restoreAccTrackSpte(format, marked);
  return {
    ad_enabled: spteAdEnabled(format, spte),
    tracked_before: isAccessTrackSpte(format, spte),
    accessed_before: isAccessedSpte(format, spte),
    marked: hex(marked),
    tracked_after: isAccessTrackSpte(format, marked),
    accessed_after: isAccessedSpte(format, marked),
    restored: hex(restored),
    marked_twice: hex(markSpteForAccessTrack(format, marked)),
    remarked: hex(markSpteForAccessTrack(format, restored)),
    restored_from_input: hex(restoreAccTrackSpte(format, spte)),
    warnings: markSpteForAccessTrackWarnings(format, spte),
  };
};

const mmioResults: VectorFunction = (format, input) => {
  const generation = BigInt(input.generation as string);
  const spte = makeMmioSpte(format, gfnOf(input.gfn), input.access as number, generation);
  return {
    spte: hex(spte),
    is_mmio_spte: isMmioSpte(format, spte),
    is_shadow_present: isShadowPresentPte(spte),
    generation: hex(getMmioSpteGeneration(format, spte)),
    gfn: hex(getMmioSpteGfn(format, spte)),
    access: getMmioSpteAccess(format, spte),
    check_same: checkMmioSpte(format, spte, generation),
    check_later: checkMmioSpte(format, spte, BigInt(input.later_generation as string)),
    warnings: makeMmioSpteWarnings(format),
  };
};

const tlbFlushResults: VectorFunction = (format, input) => {
  const newSpte = spteOf(input.new_spte);
  const flush = leafSpteChangeNeedsTlbFlush(format, spteOf(input.old_spte), newSpte);
  if (format.rules.name === "linux-6.15") return { leaf_change_needs_tlb_flush: flush };
  const warnings = checkSpteWritableInvariants(format, newSpte) ? 0 : 1;
  return { leaf_change_needs_tlb_flush: flush, mmu_spte_update_flush: flush, warnings };
};

const permissionResults: VectorFunction = (format, input) => {
  const permissions = updatePermissionBitmask(format.rules, {
    ept: input.ept === true,
    tdp: input.tdp === true,
    cr4Smep: input.cr4_smep === true,
  });
  const spte = spteOf(input.spte);
  return {
    permission_fault: sptePermissionFault(format, permissions, spte, Number(input.error_code)),
    permissions,
  };
};

/** Predicates that both rule sets' files list. */
function commonPredicates(format: SpteFormat, value: unknown): Record<string, boolean> {
  const spte = spteOf(value);
  return {
    is_shadow_present: isShadowPresentPte(spte),
    is_mmio: isMmioSpte(format, spte),
    is_frozen: isFrozenSpte(format, spte),
    ad_enabled: spteAdEnabled(format, spte),
    ad_need_write_protect: spteAdNeedWriteProtect(format, spte),
    is_access_track: isAccessTrackSpte(format, spte),
    is_accessed: isAccessedSpte(format, spte),
    needs_atomic_update_merged: spteNeedsAtomicUpdate(format, spte),
    is_writable: isWritablePte(spte),
    is_mmu_writable: isMmuWritableSpte(format, spte),
    is_large: isLargePte(spte),
    is_last_l1: isLastSpte(spte, 1),
    is_last_l2: isLastSpte(spte, 2),
    is_last_l3: isLastSpte(spte, 3),
    is_last_l4: isLastSpte(spte, 4),
    ept_ve_possible: isEptVePossible(format, spte),
  };
}

/** Predicates of one rule set only; the 6.15 files apply the volatile rule as posted in the tree's helper. */
function specificPredicates(format: SpteFormat, value: unknown): Record<string, boolean> {
  const spte = spteOf(value);
  if (format.rules.name !== "linux-6.15") {
    return {
      tdp_need_atomic_update_l1: kvmTdpMmuSpteNeedAtomicUpdate(format, spte, 1),
      tdp_need_atomic_update_l2: kvmTdpMmuSpteNeedAtomicUpdate(format, spte, 2),
      trace_x: isExecutablePte(format, spte),
      trace_u: isUserPte(format, spte),
    };
  }
  const v9 = spteNeedsAtomicUpdateUnder(v9VolatileRule, format, spte);
  return {
    needs_atomic_write: v9,
    tdp_need_atomic_write_l1: isShadowPresentPte(spte) && v9,
    tdp_need_atomic_write_l2: isShadowPresentPte(spte) && isLastSpte(spte, 2) && v9,
    is_executable: isExecutablePte(format, spte),
  };
}

const predicateResults: VectorFunction = (format, input) => {
  const all = { ...commonPredicates(format, input.spte), ...specificPredicates(format, input.spte) };
  const spte = spteOf(input.spte);
  return {
    true: Object.keys(all)
      .filter((name) => all[name])
      .sort(),
    pfn: hex(spteToPfn(format, spte)),
    mmio_generation: hex(getMmioSpteGeneration(format, spte)),
    mmio_gfn: hex(getMmioSpteGfn(format, spte)),
    mmio_access: getMmioSpteAccess(format, spte),
    writable_invariant_ok: checkSpteWritableInvariants(format, spte),
  };
};

/** One function for each vector file, by the file's name. */
export const vectorFunctions: Readonly<Record<string, VectorFunction>> = {
  "access-track": accessTrackResults,
  "huge-split": hugeSplitResults,
  "make-huge": makeHugeResults,
  "make-spte": makeSpteResults,
  mmio: mmioResults,
  nonleaf: nonleafResults,
  permission: permissionResults,
  predicates: predicateResults,
  "tlb-flush": tlbFlushResults,
};
