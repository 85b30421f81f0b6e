export type { AccessKind } from "./access/access-kind.js";
export {
  ACCESS_EMULATE,
  ACCESS_FAILED,
  ACCESS_GUEST_PAGE_FAULT,
  type AccessResult,
} from "./access/access-result.js";
export { PERMISSION_ANY_WRITE } from "./access/permission.js";
export {
  FlushDomainFullError,
  GuestAddressRangeError,
  GuestLinearAddressError,
  InvalidGuestPagingError,
  MisalignedGuestAccessError,
  NothingToInjectError,
  RecorderRangeError,
  RootNotLoadedError,
  TlbGeometryError,
  UnsupportedPagingModeError,
} from "./errors.js";
export { FAULT_ERRNO, type FaultErrno } from "./fault/fault-errno.js";
export type { FaultKind, LastFault } from "./fault/last-fault.js";
export type { GuestPageFault } from "./fault/last-guest-fault.js";
export {
  PFERR_FETCH_MASK,
  PFERR_GUEST_FINAL_MASK,
  PFERR_GUEST_PAGE_MASK,
  PFERR_PRESENT_MASK,
  PFERR_RSVD_MASK,
  PFERR_USER_MASK,
  PFERR_WRITE_MASK,
} from "./fault/pferr.js";
export type { CompletePagingMode, PagingMode } from "./format/paging-mode.js";
export {
  type CompleteGuestPagingState,
  type GuestPagingMode,
  type GuestPagingState,
  PAGING_OFF,
} from "./paging/guest-paging-state.js";
export {
  attachGuestAccessEpochs,
  createGuestAccessEpochs,
  GuestAccessEpochs,
} from "./recorder/guest-access-epochs.js";
export { type GuestAccessRecorder, noAccessRecorder } from "./recorder/guest-access-recorder.js";
export {
  attachGuestWriteBitmap,
  createGuestWriteBitmap,
  GuestWriteBitmap,
} from "./recorder/guest-write-bitmap.js";
export { type GuestWriteRecorder, noWriteRecorder } from "./recorder/guest-write-recorder.js";
export type { RecorderHandle, RecorderInit, RecorderMachine } from "./recorder/recorder-range.js";
export type { VcpuStatistics } from "./statistics/vcpu-statistics.js";
export type { CachedTranslation } from "./tlb/tlb.js";
export { DEFAULT_TLB_GEOMETRY, type TlbArrayGeometry, type TlbGeometry } from "./tlb/tlb-geometry.js";
export { allocateVcpu, attachVcpu, createVcpu, type VcpuMachine } from "./vcpu/create-vcpu.js";
export { type LoadCr3Options, readGuestPaging } from "./vcpu/guest-paging.js";
export { type GuestPagingIntercepts, noIntercepts } from "./vcpu/guest-paging-intercepts.js";
export { injectPageFault } from "./vcpu/inject-page-fault.js";
export type { Vcpu } from "./vcpu/vcpu.js";
export type { VcpuCollaborators, VcpuHandle, VcpuInit } from "./vcpu/vcpu-handle.js";
export type { PageFaultResult, VcpuMmu } from "./vcpu/vcpu-mmu.js";
