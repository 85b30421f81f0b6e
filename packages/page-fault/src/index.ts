export { fastPageFault } from "./fast/fast-page-fault.js";
export type { LastSpte, LocklessWalk } from "./fast/lockless-walk.js";
export { pageFaultCanBeFast } from "./fast/page-fault-can-be-fast.js";
export { countPageFaultResult } from "./fault/count-page-fault-result.js";
export { KvmPageFault, PFERR_RSVD_MASK } from "./fault/kvm-page-fault.js";
export { pageFaultHandlePageTrack } from "./fault/page-fault-handle-page-track.js";
export { RetPf } from "./fault/ret-pf.js";
export { disallowedHugepageAdjust } from "./huge/disallowed-hugepage-adjust.js";
export { kvmMmuHugepageAdjust } from "./huge/kvm-mmu-hugepage-adjust.js";
export { type LeafSpte, type LeafSpteInput, makeLeafSpte } from "./leaf/make-leaf-spte.js";
export { makeNoSlotSpte } from "./leaf/make-no-slot-spte.js";
export { noShadowPages, type ShadowPageTracker } from "./leaf/shadow-page-tracker.js";
export { handleMmioPageFault } from "./mmio/handle-mmio-page-fault.js";
export type { FaultingMmu } from "./mmu/faulting-mmu.js";
export {
  MMU_STATISTIC_NAMES,
  MMU_STATISTICS_BYTES,
  type MmuStatisticName,
  MmuStatistics,
} from "./mmu/mmu-statistics.js";
export { SpteCorruptionError } from "./mmu/spte-corruption-error.js";
export { faultinPfn } from "./pfn/faultin-pfn.js";
export { kvmMmuFinishPageFault } from "./pfn/kvm-mmu-finish-page-fault.js";
export { REQUEST_MMU_FREE_OBSOLETE_ROOTS, REQUEST_MMU_SYNC } from "./request/mmu-requests.js";
export { traceKvmMmuSetSpte, traceKvmMmuSpteRequested, traceMarkMmioSpte } from "./trace/trace-fault.js";
export { traceKvmMmuSplitHugePage } from "./trace/trace-kvm-mmu-split-huge-page.js";
