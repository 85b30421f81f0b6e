import type { Address, FlushDomain } from "@kvm-age/machine";
import type { CompletePagingMode, PagingMode } from "../format/paging-mode.js";
import type { GuestAccessRecorder } from "../recorder/guest-access-recorder.js";
import type { GuestWriteRecorder } from "../recorder/guest-write-recorder.js";
import type { TlbGeometry } from "../tlb/tlb-geometry.js";
import type { GuestPagingIntercepts } from "./guest-paging-intercepts.js";
import type { VcpuMmu } from "./vcpu-mmu.js";

/** What a vCPU is made of. */
export interface VcpuInit extends PagingMode {
  /** The domain the vCPU joins; its zero-filled bytes are the maker's. */
  readonly flushDomain: FlushDomain;
  /** @default DEFAULT_TLB_GEOMETRY */
  readonly tlb?: TlbGeometry;
}

/** A vCPU as plain data that crosses threads. */
export interface VcpuHandle {
  /** Its words in the arena. */
  readonly state: Address;
  readonly flushDomain: FlushDomain;
  /** Number in the flush domain, counted from 0 in the order of joining; the `vcpu` of trace events. */
  readonly member: number;
  readonly paging: CompletePagingMode;
  readonly tlb: TlbGeometry;
}

/** The objects a vCPU works with in one thread. */
export interface VcpuCollaborators {
  readonly mmu: VcpuMmu;
  /** Told of what the guest does to its paging, over shadow tables. @default noIntercepts */
  readonly intercepts?: GuestPagingIntercepts;
  /** @default noWriteRecorder */
  readonly writeRecorder?: GuestWriteRecorder;
  /** @default noAccessRecorder */
  readonly accessRecorder?: GuestAccessRecorder;
}
