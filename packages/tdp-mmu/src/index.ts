export {
  ageRootByIterator,
  kvmTdpMmuAgeGfnRange,
  kvmTdpMmuTestAgeGfn,
} from "./aging/kvm-tdp-mmu-age-gfn-range.js";
export { checkTdpMmuInvariants } from "./check/check-tdp-mmu-invariants.js";
export { kvmTdpMmuClearDirtyPtMasked } from "./dirty/clear-dirty-pt-masked.js";
export { kvmTdpMmuClearDirtySlot, kvmTdpMmuWrprotSlot } from "./dirty/dirty-log-slot.js";
export { kvmTdpMmuWriteProtectGfn } from "./dirty/kvm-tdp-mmu-write-protect-gfn.js";
export {
  kvmTdpMmuEnableLogDirtyPtMasked,
  kvmTdpMmuSlotDisableDirtyLogging,
  kvmTdpMmuSlotEnableDirtyLogging,
} from "./dirty/slot-dirty-logging.js";
export { kvmTdpMmuPageFault } from "./fault/kvm-tdp-mmu-page-fault.js";
export { kvmRecoverNxHugePages } from "./huge/kvm-recover-nx-huge-pages.js";
export { kvmTdpMmuRecoverHugePages } from "./huge/kvm-tdp-mmu-recover-huge-pages.js";
export { kvmTdpMmuTrySplitHugePages } from "./huge/kvm-tdp-mmu-try-split-huge-pages.js";
export { kvmTdpMmuZapCollapsibleSptes } from "./huge/kvm-tdp-mmu-zap-collapsible-sptes.js";
export { kvmTdpMmuZapSp } from "./huge/kvm-tdp-mmu-zap-sp.js";
export { TdpIter } from "./iterator/tdp-iter.js";
export { tdpMmuIterCondResched } from "./iterator/tdp-mmu-iter-cond-resched.js";
export { kvmTdpMmuMap } from "./map/kvm-tdp-mmu-map.js";
export { RootStateError, TdpMmuConfigError } from "./page/errors.js";
export { type KvmMmuPage, ptepWord } from "./page/kvm-mmu-page.js";
export { kvmTdpMmuInvalidateRoots, kvmTdpMmuZapInvalidatedRoots } from "./root/invalidate-roots.js";
export { kvmTdpMmuAllocRoot, rootOfVcpu } from "./root/kvm-tdp-mmu-alloc-root.js";
export { kvmTdpMmuGetRoot, kvmTdpMmuPutRoot } from "./root/root-reference.js";
export { KVM_ALL_ROOTS, KVM_DIRECT_ROOTS, KVM_INVALID_ROOTS, KVM_VALID_ROOTS } from "./root/root-types.js";
export {
  attachTdpMmu,
  createTdpMmu,
  destroyTdpMmu,
  TdpMmu,
  type TdpMmuComponents,
  type TdpMmuHandle,
  type TdpMmuInit,
  type TdpMmuMachine,
} from "./tdp-mmu.js";
export {
  defaultTdpMmuOptions,
  type LeafScan,
  type TdpAgingMode,
  type TdpMmuOptions,
} from "./tdp-mmu-options.js";
export { TDP_MMU_PAGES_LOCK_CLASS } from "./tdp-mmu-pages-lock.js";
export {
  handleMmuRequests,
  isObsoleteRoot,
  kvmMmuFreeObsoleteRoots,
  kvmMmuLoad,
  kvmMmuSwitchGuestMode,
  kvmMmuUnload,
} from "./vcpu/kvm-mmu-load.js";
export { createTdpMmuVcpu, destroyTdpMmuVcpu, TdpMmuVcpu } from "./vcpu/tdp-mmu-vcpu.js";
export { kvmTdpMmuZapAllFast, kvmTdpMmuZapAllFastBegin } from "./zap/kvm-mmu-zap-all-fast.js";
export { kvmTdpMmuZapAll } from "./zap/kvm-tdp-mmu-zap-all.js";
export { kvmTdpMmuUnmapGfnRange, kvmTdpMmuZapLeafs } from "./zap/tdp-mmu-zap-leafs.js";
export { tdpMmuZapRoot } from "./zap/tdp-mmu-zap-root.js";
