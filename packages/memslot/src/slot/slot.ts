import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import { type Gfn, PG_LEVEL_2M, type PgLevel } from "@kvm-age/spte";
import type { Hva } from "../address/hva.js";
import { readSplitWord, writeSplitWord } from "../address/split-word.js";
import { KVM_MEM_LOG_DIRTY_PAGES, KVM_MEMSLOT_INVALID } from "./slot-flags.js";

declare const slotBrand: unique symbol;

/**
 * Address of a `struct kvm_memory_slot` in the arena. Everything but the metadata array pointers is written
 * before the slot is published and never again: a change makes a new slot. Valid while `kvm->srcu` is
 * read-held or `kvm->slots_lock` is held.
 */
export type Slot = Address & { readonly [slotBrand]: never };

/** No slot. */
export const NULL_SLOT: Slot = NULL_ADDRESS as Slot;

/** Two u32, split word: first gfn. */
export const SLOT_BASE_GFN = 0;
/** Two u32, split word: host virtual address of the first page, page aligned. */
export const SLOT_USERSPACE_ADDR = 8;
/** u32: pages, 1 … 2^31 - 1. */
export const SLOT_NPAGES = 16;
/** u32: `slot-flags.ts`. */
export const SLOT_FLAGS = 20;
/** u32: id, 0 … 32766. */
export const SLOT_ID = 24;
/** u32: address space. */
export const SLOT_AS_ID = 28;
/** u32: dirty bitmap, two halves of 64-bit words; 0 if none. */
export const SLOT_DIRTY_BITMAP = 32;
/** Three u32: arrays of rmap heads for 4K, 2M and 1G; 0 if none. First word of the arch part. */
export const SLOT_RMAP = 36;
/** Two u32: arrays of `disallow_lpage` for 2M and 1G. */
export const SLOT_LPAGE_INFO = 48;
/** u32: array of write-tracking counters; 0 if none. Last word of the arch part. */
export const SLOT_GFN_WRITE_TRACK = 56;
/** Two nodes of `SLOT_NODE_BYTES`, one for each set. */
export const SLOT_NODES = 64;
/** Bytes of a node: `slot-node.ts`. */
export const SLOT_NODE_BYTES = 32;
/** Bytes of a slot. */
export const SLOT_BYTES: number = SLOT_NODES + 2 * SLOT_NODE_BYTES;

/** First guest frame of the slot. */
export function slotBaseGfn(cpu: Cpu, slot: Slot): Gfn {
  return readSplitWord(cpu, offset(slot, SLOT_BASE_GFN)) as Gfn;
}

/** Pages of the slot, 1 … 2^31 - 1. */
export function slotNpages(cpu: Cpu, slot: Slot): number {
  return cpu.readOnce32(offset(slot, SLOT_NPAGES));
}

/** Host virtual address that backs the first page; page aligned. */
export function slotUserspaceAddr(cpu: Cpu, slot: Slot): Hva {
  return readSplitWord(cpu, offset(slot, SLOT_USERSPACE_ADDR)) as Hva;
}

/** The flags, `KVM_MEMSLOT_INVALID` among them. */
export function slotFlags(cpu: Cpu, slot: Slot): number {
  return cpu.readOnce32(offset(slot, SLOT_FLAGS));
}

/** Id of the slot in its address space, 0 … 32766. */
export function slotId(cpu: Cpu, slot: Slot): number {
  return cpu.readOnce32(offset(slot, SLOT_ID));
}

/** Address space of the slot: 0, or 1 for system management mode. */
export function slotAsId(cpu: Cpu, slot: Slot): number {
  return cpu.readOnce32(offset(slot, SLOT_AS_ID));
}

/** The dirty bitmap's address, or `NULL_ADDRESS`. */
export function slotDirtyBitmap(cpu: Cpu, slot: Slot): Address {
  return cpu.readOnce32(offset(slot, SLOT_DIRTY_BITMAP)) as Address;
}

/** Sets the dirty bitmap of a slot that nobody else can reach yet. */
export function writeSlotDirtyBitmap(cpu: Cpu, slot: Slot, bitmap: Address): void {
  cpu.writeOnce32(offset(slot, SLOT_DIRTY_BITMAP), bitmap);
}

/** Whether writes to the slot must be logged (kernel `kvm_slot_dirty_track_enabled`). */
export function kvmSlotDirtyTrackEnabled(cpu: Cpu, slot: Slot): boolean {
  return (slotFlags(cpu, slot) & KVM_MEM_LOG_DIRTY_PAGES) !== 0;
}

/** Whether the slot is being deleted or moved. */
export function slotIsInvalid(cpu: Cpu, slot: Slot): boolean {
  return (slotFlags(cpu, slot) & KVM_MEMSLOT_INVALID) !== 0;
}

/** Whether `gfn` lies in the slot. */
export function slotContains(cpu: Cpu, slot: Slot, gfn: Gfn): boolean {
  const baseGfn = slotBaseGfn(cpu, slot);
  return gfn >= baseGfn && gfn < baseGfn + slotNpages(cpu, slot);
}

/** Where the slot keeps the address of its rmap-head array of `level`, 1 … 3. */
export function slotRmapWord(slot: Slot, level: PgLevel): Address {
  return offset(slot, SLOT_RMAP + (level - 1) * 4);
}

/** Where the slot keeps the address of its `disallow_lpage` array of `level`, 2 or 3. */
export function slotLpageInfoWord(slot: Slot, level: PgLevel): Address {
  return offset(slot, SLOT_LPAGE_INFO + (level - PG_LEVEL_2M) * 4);
}

/** Where the slot keeps the address of its write-tracking counters. */
export function slotGfnWriteTrackWord(slot: Slot): Address {
  return offset(slot, SLOT_GFN_WRITE_TRACK);
}

/** What a slot is created from. */
export interface SlotFields {
  readonly asId: number;
  readonly id: number;
  readonly baseGfn: Gfn;
  readonly npages: number;
  readonly userspaceAddr: Hva;
  readonly flags: number;
}

/** Fills a zeroed slot that nobody else can reach yet. */
export function writeSlotFields(cpu: Cpu, slot: Slot, fields: SlotFields): void {
  writeSplitWord(cpu, offset(slot, SLOT_BASE_GFN), fields.baseGfn);
  writeSplitWord(cpu, offset(slot, SLOT_USERSPACE_ADDR), fields.userspaceAddr);
  cpu.writeOnce32(offset(slot, SLOT_NPAGES), fields.npages);
  cpu.writeOnce32(offset(slot, SLOT_FLAGS), fields.flags);
  cpu.writeOnce32(offset(slot, SLOT_ID), fields.id);
  cpu.writeOnce32(offset(slot, SLOT_AS_ID), fields.asId);
}

/** Reads back what `writeSlotFields` wrote. */
export function readSlotFields(cpu: Cpu, slot: Slot): SlotFields {
  return {
    asId: slotAsId(cpu, slot),
    id: slotId(cpu, slot),
    baseGfn: slotBaseGfn(cpu, slot),
    npages: slotNpages(cpu, slot),
    userspaceAddr: slotUserspaceAddr(cpu, slot),
    flags: slotFlags(cpu, slot),
  };
}

/**
 * Copies the arch part (pointers to the metadata arrays) from one slot to another, under `slots_arch_lock`.
 */
export function copySlotArch(cpu: Cpu, from: Slot, to: Slot): void {
  for (let word = SLOT_RMAP; word <= SLOT_GFN_WRITE_TRACK; word += 4) {
    cpu.writeOnce32(offset(to, word), cpu.readOnce32(offset(from, word)));
  }
}
