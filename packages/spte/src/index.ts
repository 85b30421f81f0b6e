export {
  markSpteForAccessTrack,
  markSpteForAccessTrackWarnings,
} from "./access-track/mark-spte-for-access-track.js";
export { modifySpteProtections } from "./access-track/modify-spte-protections.js";
export { restoreAccTrackSpte } from "./access-track/restore-acc-track-spte.js";
export type { Gfn } from "./address/gfn.js";
export { toGfn } from "./address/gfn.js";
export { gfnRoundForLevel } from "./address/gfn-round-for-level.js";
export type { Pfn } from "./address/pfn.js";
export { toPfn } from "./address/pfn.js";
export type { Spte } from "./address/spte.js";
export { toSpte } from "./address/spte.js";
export { spteIndex } from "./address/spte-index.js";
export * from "./errors.js";
export { describeSpteChange, type SpteFieldChange } from "./explain/describe-spte-change.js";
export {
  type ExplainedField,
  explainSpte,
  type SpteExplanation,
  type SpteKind,
} from "./explain/explain-spte.js";
export { formatSpte } from "./explain/format-spte.js";
export { formatSpteExplanation } from "./explain/format-spte-explanation.js";
export { parseSpte } from "./explain/parse-spte.js";
export { type CreateSpteFormatOptions, createSpteFormat } from "./format/create-spte-format.js";
export type { HostCpu } from "./format/host-cpu.js";
export { kvmMmuResetAllPteMasks } from "./format/kvm-mmu-reset-all-pte-masks.js";
export { kvmMmuSetEptMasks } from "./format/kvm-mmu-set-ept-masks.js";
export { kvmMmuSetMeSpteMask } from "./format/kvm-mmu-set-me-spte-mask.js";
export { kvmMmuSetMmioSpteMask } from "./format/kvm-mmu-set-mmio-spte-mask.js";
export { SHADOW_NONPRESENT_VALUE, SPTE_MMU_PRESENT_MASK } from "./format/spte-constants.js";
export type { MmuMode, SpteFormat } from "./format/spte-format.js";
export { svmAdjustMmioMask } from "./format/svm-adjust-mmio-mask.js";
export { kvmHpageGfnShift } from "./level/kvm-hpage-gfn-shift.js";
export { kvmPagesPerHpage } from "./level/kvm-pages-per-hpage.js";
export {
  KVM_MAX_HUGEPAGE_LEVEL,
  PG_LEVEL_1G,
  PG_LEVEL_2M,
  PG_LEVEL_4K,
  PG_LEVEL_256T,
  PG_LEVEL_512G,
  type PgLevel,
  PT32E_ROOT_LEVEL,
  PT64_ROOT_4LEVEL,
  PT64_ROOT_5LEVEL,
  toPgLevel,
} from "./level/pg-level.js";
export { changeSpteExecutable } from "./make/change-spte-executable.js";
export { makeHugeSpte } from "./make/make-huge-spte.js";
export { makeNonleafSpte } from "./make/make-nonleaf-spte.js";
export { makePaePdpte } from "./make/make-pae-pdpte.js";
export { makeSmallSpte } from "./make/make-small-spte.js";
export { type MakeSpteInput, type MakeSpteResult, makeSpte } from "./make/make-spte.js";
export { checkMmioSpte } from "./mmio/check-mmio-spte.js";
export { getMmioSpteAccess } from "./mmio/get-mmio-spte-access.js";
export { getMmioSpteGeneration } from "./mmio/get-mmio-spte-generation.js";
export { getMmioSpteGfn } from "./mmio/get-mmio-spte-gfn.js";
export { isMmioSpte } from "./mmio/is-mmio-spte.js";
export { makeMmioSpte, makeMmioSpteWarnings } from "./mmio/make-mmio-spte.js";
export { KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS } from "./mmio/memslot-generation.js";
export { isAccessAllowed, type SpteAccess } from "./permission/is-access-allowed.js";
export {
  PFERR_FETCH_MASK,
  PFERR_PRESENT_MASK,
  PFERR_USER_MASK,
  PFERR_WRITE_MASK,
  sptePermissionFault,
} from "./permission/spte-permission-fault.js";
export {
  type PermissionFeatures,
  type PermissionTable,
  updatePermissionBitmask,
} from "./permission/update-permission-bitmask.js";
export { isAccessTrackSpte } from "./predicate/is-access-track-spte.js";
export { isAccessedSpte } from "./predicate/is-accessed-spte.js";
export { isDirtySpte } from "./predicate/is-dirty-spte.js";
export { isEptVePossible } from "./predicate/is-ept-ve-possible.js";
export { isExecutablePte, isUserPte } from "./predicate/is-executable-pte.js";
export { isFrozenSpte } from "./predicate/is-frozen-spte.js";
export { isLargePte, isLastSpte } from "./predicate/is-last-spte.js";
export { isShadowPresentPte } from "./predicate/is-shadow-present-pte.js";
export { spteAdEnabled, spteAdNeedWriteProtect } from "./predicate/spte-ad-enabled.js";
export { spteToPfn } from "./predicate/spte-to-pfn.js";
export { checkSpteWritableInvariants, isMmuWritableSpte, isWritablePte } from "./predicate/writability.js";
export { kvmCalcTdpMmuRootPageRole, type TdpRootRoleInput } from "./role/kvm-calc-tdp-mmu-root-page-role.js";
export { type KvmMmuPageRole, type KvmMmuPageRoleFields, makeRole } from "./role/kvm-mmu-page-role.js";
export {
  kvmMmuRoleAsId,
  roleAccess,
  roleAdDisabled,
  roleDirect,
  roleFields,
  roleGuestMode,
  roleInvalid,
  roleLevel,
  roleSmm,
} from "./role/role-fields.js";
export { withRoleAccess, withRoleInvalid, withRoleLevel } from "./role/with-role-field.js";
export { isRsvdSpte } from "./rsvd/is-rsvd-spte.js";
export { type ResetRsvdsBitsMaskInput, resetRsvdsBitsMask } from "./rsvd/reset-rsvds-bits-mask.js";
export { type ResetRsvdsBitsMaskEptInput, resetRsvdsBitsMaskEpt } from "./rsvd/reset-rsvds-bits-mask-ept.js";
export { resetShadowZeroBitsMask } from "./rsvd/reset-shadow-zero-bits-mask.js";
export type { RsvdBits } from "./rsvd/rsvd-bits.js";
export { defaultRuleSet } from "./rules/default-rule-set.js";
export { linux612 } from "./rules/linux-6.12.js";
export { linux615 } from "./rules/linux-6.15.js";
export { linux73 } from "./rules/linux-7.3.js";
export type { MmioGenerationLayout, RoleLayout, RuleSet } from "./rules/rule-set.js";
export { kvmTdpMmuSpteNeedAtomicUpdate } from "./update/kvm-tdp-mmu-spte-need-atomic-update.js";
export { leafSpteChangeNeedsTlbFlush } from "./update/leaf-spte-change-needs-tlb-flush.js";
export { mmuSpteUpdateNeedsTlbFlush } from "./update/mmu-spte-update-needs-tlb-flush.js";
export { spteNeedsAtomicUpdate, spteNeedsAtomicUpdateUnder } from "./update/spte-needs-atomic-update.js";
export {
  baseVolatileRule,
  mergedVolatileRule,
  type VolatileRule,
  v9VolatileRule,
} from "./update/volatile-rule.js";
