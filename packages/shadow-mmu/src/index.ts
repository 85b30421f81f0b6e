export { kvmMayHaveShadowMmuSptes } from "./aging/kvm-may-have-shadow-mmu-sptes.js";
export { kvmRmapAgeGfnRange } from "./aging/kvm-rmap-age-gfn-range.js";
export { kvmRmapAgeGfnRangeLocked } from "./aging/kvm-rmap-age-gfn-range-locked.js";
export { kvmShadowAgeGfn, kvmShadowTestAgeGfn } from "./aging/kvm-shadow-age-gfn.js";
export { checkShadowPageInvariants } from "./check/check-shadow-page-invariants.js";
export { checkShadowSpteInvariants } from "./check/check-shadow-spte-invariants.js";
export { syncedGuestTables } from "./check/synced-guest-tables.js";
export { attachShadowMmu, createShadowMmu, destroyShadowMmu } from "./create-shadow-mmu.js";
export { kvmMmuSlotGfnWriteProtect } from "./dirty/kvm-mmu-slot-gfn-write-protect.js";
export {
  kvmShadowMmuEnableLogDirtyPtMasked,
  kvmShadowMmuSlotDisableDirtyLogging,
  kvmShadowMmuSlotEnableDirtyLogging,
} from "./dirty/slot-dirty-logging.js";
export { ShadowMmuConfigError, ShadowPageCorruptionError } from "./errors.js";
export type { FastPageLookup } from "./fast-page-lookup.js";
export { kvmShadowMmuPageFault } from "./fault/kvm-shadow-mmu-page-fault.js";
export type { ShadowFaultResult } from "./fault/shadow-fault-result.js";
export { type GfnWriteProtector, noOtherMmu } from "./gfn-write-protector.js";
export type { GuestFault } from "./guest-walk/guest-fault.js";
export { gvaToGpa } from "./guest-walk/gva-to-gpa.js";
export { kvmMmuInvalidateAddr, kvmMmuInvlpg } from "./guest-walk/kvm-mmu-invlpg.js";
export { walkMmuGvaToGpa } from "./guest-walk/walk-mmu-gva-to-gpa.js";
export { kvmMmuTrackWrite } from "./guest-write/kvm-mmu-track-write.js";
export { kvmMmuUnprotectGfn, kvmMmuUnprotectGfnAndRetry } from "./guest-write/kvm-mmu-unprotect-gfn.js";
export { kvmWriteGuestPte } from "./guest-write/kvm-write-guest-pte.js";
export { kvmShadowRecoverNxHugePages } from "./huge/kvm-recover-nx-huge-pages.js";
export { kvmShadowMmuRecoverHugePages } from "./huge/kvm-shadow-mmu-recover-huge-pages.js";
export { kvmShadowMmuTrySplitHugePages } from "./huge/kvm-shadow-mmu-try-split-huge-pages.js";
export { MMU_UNSYNC_PAGES_LOCK_CLASS } from "./mmu-unsync-pages-lock.js";
export type { KvmMmuPage } from "./page/kvm-mmu-page.js";
export { type GuestPagingRegisters, LONG_MODE } from "./role/guest-paging-registers.js";
export { handleShadowMmuRequests } from "./root/handle-shadow-mmu-requests.js";
export { kvmMmuFreeObsoleteRoots } from "./root/kvm-mmu-free-obsolete-roots.js";
export { KVM_MMU_ROOT_CURRENT, KVM_MMU_ROOTS_ALL, kvmMmuRootPrevious } from "./root/kvm-mmu-free-roots.js";
export { kvmMmuLoad } from "./root/kvm-mmu-load.js";
export { kvmMmuNewPgd } from "./root/kvm-mmu-new-pgd.js";
export { kvmMmuUnload } from "./root/kvm-mmu-unload.js";
export {
  ShadowMmu,
  type ShadowMmuComponents,
  type ShadowMmuHandle,
  type ShadowMmuHost,
  type ShadowMmuInit,
  type ShadowMmuMachine,
} from "./shadow-mmu.js";
export {
  defaultShadowMmuOptions,
  type ShadowAgingMode,
  type ShadowMmuOptions,
} from "./shadow-mmu-options.js";
export { kvmMmuSyncPrevRoots, kvmMmuSyncRoots } from "./unsync/kvm-mmu-sync-roots.js";
export { ShadowTracker } from "./unsync/shadow-tracker.js";
export type { UserCmpxchgResult, UserMemory } from "./user-memory.js";
export { initKvmNestedMmu } from "./vcpu/init-kvm-nested-mmu.js";
export { kvmInitMmu } from "./vcpu/kvm-init-mmu.js";
export { kvmInitShadowEptMmu, type ShadowEptInit } from "./vcpu/kvm-init-shadow-ept-mmu.js";
export { kvmInitShadowNptMmu, type ShadowNptInit } from "./vcpu/kvm-init-shadow-npt-mmu.js";
export { KvmMmu, MmuKind } from "./vcpu/kvm-mmu.js";
export { kvmMmuResetContext } from "./vcpu/kvm-mmu-reset-context.js";
export { type Cr3Load, kvmSetCr3 } from "./vcpu/kvm-set-cr3.js";
export { loadNestedMmu, loadRootMmu } from "./vcpu/nested-context.js";
export { createShadowMmuVcpu, destroyShadowMmuVcpu, ShadowMmuVcpu } from "./vcpu/shadow-mmu-vcpu.js";
export { kvmMmuChangeMmuPages } from "./zap/kvm-mmu-change-mmu-pages.js";
export { kvmMmuZapAll } from "./zap/kvm-mmu-zap-all.js";
export { kvmMmuZapAllFastBegin, kvmShadowZapAllFast } from "./zap/kvm-mmu-zap-all-fast.js";
export { kvmMmuZapMemslotPagesAndFlush } from "./zap/kvm-mmu-zap-memslot-pages-and-flush.js";
export { kvmShadowFlushMemslot } from "./zap/kvm-shadow-flush-memslot.js";
export { kvmShadowUnmapGfnRange } from "./zap/kvm-shadow-unmap-gfn-range.js";
export { kvmZapObsoletePages } from "./zap/kvm-zap-obsolete-pages.js";
