import { type Address, offset } from "@kvm-age/machine";
import { LAST_FAULT_BYTES } from "../fault/last-fault.js";
import { STATISTIC_BYTES } from "../statistics/statistic-words.js";
import { tlbBytes } from "../tlb/tlb.js";
import type { TlbGeometry } from "../tlb/tlb-geometry.js";

// A vCPU's words in the arena: statistics, last fault, TLB. Mode and requests are in its flush domain.
const LAST_FAULT = STATISTIC_BYTES;
const TLB = LAST_FAULT + LAST_FAULT_BYTES;

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

export function tlbOf(state: Address): Address {
  return offset(state, TLB);
}
