import { type Address, type Cpu, offset } from "@kvm-age/machine";
import type { Slot } from "../slot/slot.js";

declare const slotSetBrand: unique symbol;

/** Address of a `struct kvm_memslots`: one of the two slot sets of an address space. */
export type SlotSet = Address & { readonly [slotSetBrand]: never };

/** u64: generation. */
export const SET_GENERATION = 0;
/** u32: slot that the last lookup by gfn found. Readers write it. */
export const SET_LAST_USED_SLOT = 8;
/** u32: root of the gfn tree. */
export const SET_GFN_ROOT = 12;
/** u32: root of the hva tree. */
export const SET_HVA_ROOT = 16;
/** u32: which of a slot's two nodes this set uses, 0 or 1. Constant. */
export const SET_NODE_IDX = 20;
/** `ID_HASH_BUCKETS` u32: chains of slots by id. */
export const SET_ID_HASH = 64;
/** Buckets of the id hash: 2^7. */
export const ID_HASH_BUCKETS = 128;
/** Bytes of a set. */
export const SLOT_SET_BYTES: number = SET_ID_HASH + ID_HASH_BUCKETS * 4;

/** The generation; bit 63 is set while an update is in progress. */
export function setGeneration(cpu: Cpu, set: SlotSet): bigint {
  return cpu.readOnce(offset(set, SET_GENERATION));
}

/** Which of a slot's two nodes the set uses. */
export function setNodeIdx(cpu: Cpu, set: SlotSet): number {
  return cpu.readOnce32(offset(set, SET_NODE_IDX));
}

/** Root of the gfn tree. */
export function setGfnRoot(cpu: Cpu, set: SlotSet): Slot {
  return cpu.readOnce32(offset(set, SET_GFN_ROOT)) as Slot;
}

/** Root of the hva tree. */
export function setHvaRoot(cpu: Cpu, set: SlotSet): Slot {
  return cpu.readOnce32(offset(set, SET_HVA_ROOT)) as Slot;
}
