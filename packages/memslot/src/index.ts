export { gfnToIndex, slotLpages } from "./address/gfn-to-index.js";
export {
  type Hva,
  KVM_HVA_ERR_BAD,
  KVM_HVA_ERR_RO_BAD,
  kvmIsErrorHva,
  TASK_SIZE_MAX,
  toHva,
} from "./address/hva.js";
export { PAGE_SHIFT, PAGE_SIZE } from "./address/page.js";
export { checkMemslotInvariants } from "./check/check-memslot-invariants.js";
export { type KvmClearDirtyLog, kvmClearDirtyLog } from "./dirty-log/kvm-clear-dirty-log.js";
export { type DirtyLog, kvmGetDirtyLog } from "./dirty-log/kvm-get-dirty-log.js";
export { markPageDirtyInSlot } from "./dirty-log/mark-page-dirty-in-slot.js";
export {
  InvalidHvaError,
  type MemslotErrno,
  MemslotError,
  MemslotsInitError,
  MetadataCounterError,
  MissingMetadataError,
  SlotNotInSetError,
  UnbalancedInvalidationError,
} from "./errors.js";
export {
  type FaultinErrno,
  type FaultinOutcome,
  type FaultinResult,
  type KvmPageFaultTarget,
  kvmMmuFaultinPfn,
} from "./fault/kvm-mmu-faultin-pfn.js";
export { kvmMmuMaxMappingLevel } from "./fault/kvm-mmu-max-mapping-level.js";
export type {
  HvaToPfnRequest,
  HvaToPfnResult,
  KvmPfnError,
  PrimaryMmu,
  ReleaseHow,
} from "./fault/primary-mmu.js";
export {
  INVALID_GFN_WORD,
  kvmMmuInvalidateEnd,
  kvmMmuInvalidateRangeAdd,
  kvmMmuInvalidateStart,
  mmuInvalidateInProgress,
} from "./invalidate/kvm-mmu-invalidate.js";
export {
  mmuInvalidateRetry,
  mmuInvalidateRetryGfn,
  mmuInvalidateRetryGfnUnsafe,
} from "./invalidate/mmu-invalidate-retry.js";
export { kvmMemslotIterNext, kvmMemslotIterStart } from "./lookup/gfn-range-iterator.js";
export { hvaRangeIterFirst, hvaRangeIterNext } from "./lookup/hva-range-iterator.js";
export { kvmForEachMemslot } from "./lookup/kvm-for-each-memslot.js";
export { kvmIsVisibleGfn } from "./lookup/kvm-is-visible-gfn.js";
export { kvmVcpuGfnToMemslot, VCPU_MEMSLOT_CACHE_BYTES } from "./lookup/kvm-vcpu-gfn-to-memslot.js";
export { gfnToMemslotInSet, searchMemslots } from "./lookup/search-memslots.js";
export { attachMemslots, createMemslots } from "./memslots/create-memslots.js";
export { kvmFreeMemslots } from "./memslots/kvm-free-memslots.js";
export {
  type KvmLocks,
  MMU_LOCK_CLASS,
  MN_ACTIVE_INVALIDATE_CLASS,
  MN_INVALIDATE_LOCK_CLASS,
  SLOTS_ARCH_LOCK_CLASS,
  SLOTS_LOCK_CLASS,
  SRCU_CLASS,
} from "./memslots/kvm-locks.js";
export { MEMSLOT_WARNINGS, type MemslotWarning } from "./memslots/memslot-warning.js";
export { Memslots, type MemslotsHandle } from "./memslots/memslots.js";
export type { MemslotMachine, MemslotsInit, MemslotsOptions } from "./memslots/memslots-init.js";
export {
  KVM_LPAGE_MIXED_FLAG,
  kvmMmuGfnAllowLpage,
  kvmMmuGfnDisallowLpage,
  lpageInfoDisallowed,
  lpageInfoSlot,
} from "./metadata/lpage-info.js";
export { mmuFirstShadowRootAlloc } from "./metadata/mmu-first-shadow-root-alloc.js";
export {
  kvmMemslotsHaveRmaps,
  kvmShadowRootAllocated,
  kvmWriteTrackingEnabled,
} from "./metadata/predicates.js";
export { RMAP_HEAD_BYTES, slotRmapArray, slotRmapHead, slotRmapHeads } from "./metadata/rmap-arrays.js";
export {
  gfnWriteTrackCount,
  kvmGfnIsWriteTracked,
  kvmWriteTrackAddGfn,
  kvmWriteTrackRemoveGfn,
  WRITE_TRACK_MAX,
} from "./metadata/write-track.js";
export {
  type AgingPolicy,
  LOCKED_AGING,
  LOCKED_FLUSHING_AGING,
  LOCKLESS_AGING,
} from "./notifier/aging-policy.js";
export { KVM_FILTER_PRIVATE, KVM_FILTER_SHARED, type KvmGfnRange } from "./notifier/kvm-gfn-range.js";
export {
  type HvaWalkResult,
  type KvmMmuNotifierRange,
  kvmHandleHvaRange,
} from "./notifier/kvm-handle-hva-range.js";
export { KvmMmuNotifier, type MmuNotifierRange } from "./notifier/kvm-mmu-notifier.js";
export { noSecondaryMmu } from "./notifier/no-secondary-mmu.js";
export type { SecondaryMmu } from "./notifier/secondary-mmu.js";
export { idToMemslot } from "./set/id-hash.js";
export { type SlotSet, setGeneration } from "./set/slot-set.js";
export {
  kvmSlotDirtyTrackEnabled,
  NULL_SLOT,
  type Slot,
  slotAsId,
  slotBaseGfn,
  slotContains,
  slotDirtyBitmap,
  slotFlags,
  slotId,
  slotIsInvalid,
  slotNpages,
  slotUserspaceAddr,
} from "./slot/slot.js";
export { KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, KVM_MEMSLOT_INVALID } from "./slot/slot-flags.js";
export { gfnToHva, gfnToHvaMemslot, hvaToGfnMemslot, slotUserspaceEnd } from "./slot/slot-hva.js";
export {
  APIC_ACCESS_PAGE_PRIVATE_MEMSLOT,
  IDENTITY_PAGETABLE_PRIVATE_MEMSLOT,
  KVM_INTERNAL_MEM_SLOTS,
  KVM_MAX_NR_ADDRESS_SPACES,
  KVM_MEM_MAX_NR_PAGES,
  KVM_MEM_SLOTS_NUM,
  KVM_USER_MEM_SLOTS,
  TSS_PRIVATE_MEMSLOT,
} from "./slot/slot-limits.js";
export {
  KVM_MEMSLOT_PAGES_TO_MMU_PAGES_RATIO,
  KVM_MIN_ALLOC_MMU_PAGES,
} from "./update/kvm-commit-memory-region.js";
export { kvmSetInternalMemslot, kvmSetMemoryRegion } from "./update/kvm-set-memory-region.js";
export { type KvmMrChange, type KvmUserspaceMemoryRegion, slotArgument } from "./update/memory-region.js";
