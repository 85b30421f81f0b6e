export { checkHostMmInvariants } from "./check/check-host-mm-invariants.js";
export { attachHostMm, createHostMm } from "./create-host-mm.js";
export {
  AddressSpaceExhaustedError,
  ForeignPfnError,
  HostMmOptionError,
  HostOutOfMemoryError,
  InvalidMappingRangeError,
  MapCountError,
  NoContentsError,
  PageIdleAlignmentError,
  PageIdleRangeError,
  PageReferenceError,
  PfnMappingError,
  SegmentationFaultError,
  SubscriberMissingError,
  UnmappedRangeError,
  UserAccessAlignmentError,
  UserAccessValueError,
} from "./errors.js";
export { NO_PFN } from "./gup/pagemap-lookup.js";
export { HostMm, type HostMmCounts, type MmapBackedOptions, type MmapOptions } from "./host-mm.js";
export type { HostMachine, HostMmHandle, HostMmInit } from "./host-mm-init.js";
export { PAGEVEC_SIZE } from "./lru/folio-batches.js";
export { MMAP_LOCK_CLASS } from "./mm/mm-struct.js";
export type { UserCmpxchgResult } from "./mm/user-memory.js";
export type { UserAccessSize } from "./mm/user-word.js";
export { MmuNotifierChain } from "./notifier/mmu-notifier-chain.js";
export { MmuNotifierEvent, type MmuNotifierRange } from "./notifier/mmu-notifier-range.js";
export type { MmuNotifierSubscriber } from "./notifier/mmu-notifier-subscriber.js";
export { FIRST_HOST_PFN, HPAGE_PMD_NR, MAX_HOST_PAGES } from "./page/mem-map.js";
export type { PageIdle } from "./page-idle/page-idle.js";
export { MAPPING_WINDOW_END, MAPPING_WINDOW_START } from "./page-table/mapping-window.js";
export { PTE_LOCK_CLASS } from "./page-table/page-tables.js";
export type { ReclaimReport, ReclaimRequest } from "./reclaim/reclaim-pages.js";
export type { ShrinkOutcome, ShrinkRequest, ShrinkResult } from "./reclaim/shrink-one-folio.js";
