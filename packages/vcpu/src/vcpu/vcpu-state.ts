import { type Address, offset } from "@kvm-age/machine";
import { LAST_FAULT_BYTES } from "../fault/last-fault.js";
import { LAST_GUEST_FAULT_BYTES } from "../fault/last-guest-fault.js";
import { GUEST_PAGING_BYTES } from "../paging/guest-paging-words.js";
import { STATISTIC_BYTES } from "../statistics/statistic-words.js";
import { tlbBytes } from "../tlb/tlb.js";
import type { TlbGeometry } from "../tlb/tlb-geometry.js";

// A vCPU's words in the arena: statistics, last fault, last fault of the guest, the guest's paging registers, TLB. Mode and
// requests are in its flush domain.
const LAST_FAULT = STATISTIC_BYTES;
const LAST_GUEST_FAULT = LAST_FAULT + LAST_FAULT_BYTES;
const GUEST_PAGING = LAST_GUEST_FAULT + LAST_GUEST_FAULT_BYTES;
const TLB = GUEST_PAGING + GUEST_PAGING_BYTES;

/** Bytes of a vCPU's state. */
export function vcpuStateBytes(geometry: TlbGeometry): number {
  return TLB + tlbBytes(geometry);
}

export function statisticsOf(state: Address): Address {
  return state;
}

export function lastFaultOf(state: Address): Address {
  return offset(state, LAST_FAULT);
}

export function lastGuestFaultOf(state: Address): Address {
  return offset(state, LAST_GUEST_FAULT);
}

export function guestPagingOf(state: Address): Address {
  return offset(state, GUEST_PAGING);
}

export function tlbOf(state: Address): Address {
  return offset(state, TLB);
}
