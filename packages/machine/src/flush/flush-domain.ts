import { type Address, offset } from "../cpu/address.js";

/** A range of guest frames that a flush may be narrowed to: `pages` frames from `startGfn`. */
export interface FlushRange {
  readonly startGfn: number;
  readonly pages: number;
}

/**
 * The processors that cache one VM's translations, as they are interrupted: per member a mode word and a
 * request word, in the arena.
 *
 * Protocol (`vcpu->mode` and `vcpu->requests`): a member entering the guest stores mode IN_GUEST_MODE, then a
 * full barrier, then reads its requests. A flusher ORs its request in, then a full barrier, then reads the
 * mode. One of the two sees the other (store buffering, both fenced), so no request is missed.
 */
export interface FlushDomain {
  /** Address of the domain header, `flushDomainBytes(maxMembers)` long. */
  readonly address: Address;
  /** Members that can ever join, 1 … 4096. */
  readonly maxMembers: number;
}

/** `OUTSIDE_GUEST_MODE`: not running guest code; handles requests before it enters. */
export const OUTSIDE_GUEST_MODE = 0;
/** `IN_GUEST_MODE`: running guest code; must be interrupted to notice a request. */
export const IN_GUEST_MODE = 1;
/** `EXITING_GUEST_MODE`: interrupted, on its way out. */
export const EXITING_GUEST_MODE = 2;
/** `READING_SHADOW_PAGE_TABLES`: in a lockless walk; a flusher waits for it like for a guest. */
export const READING_SHADOW_PAGE_TABLES = 3;

/** Request bit of every domain: drop all cached translations (`KVM_REQ_TLB_FLUSH`). */
export const REQUEST_TLB_FLUSH = 1;

const HEADER_BYTES = 64;
const MEMBER_BYTES = 64;

/** Bytes of a flush domain; all zero is a domain with no member inside the guest. */
export function flushDomainBytes(maxMembers: number): number {
  return HEADER_BYTES + MEMBER_BYTES * maxMembers;
}

/** u32: members that joined so far; members are 0 … count - 1. */
export function memberCountWord(domain: FlushDomain): Address {
  return domain.address;
}

/** u32 statistic: `remote_tlb_flush_requests`, flushes asked for. */
export function flushRequestsWord(domain: FlushDomain): Address {
  return offset(domain.address, 4);
}

/** u32 statistic: `remote_tlb_flush`, flushes that interrupted at least one member. */
export function flushesSentWord(domain: FlushDomain): Address {
  return offset(domain.address, 8);
}

/** u32: mode of a member. */
export function memberModeWord(domain: FlushDomain, member: number): Address {
  return offset(domain.address, HEADER_BYTES + member * MEMBER_BYTES);
}

/** u32: pending requests of a member, one bit each. */
export function memberRequestsWord(domain: FlushDomain, member: number): Address {
  return offset(domain.address, HEADER_BYTES + member * MEMBER_BYTES + 4);
}
