import type { Address, Cpu } from "@kvm-age/machine";
import type { PteListDesc } from "../descriptor/pte-list-desc.js";

declare const kvmRmapHeadBrand: unique symbol;

/**
 * Address of a list head (`struct kvm_rmap_head`): one 64-bit word, 0 for an empty list. Else its upper bits are the address
 * of the only SPTE slot, or, with `KVM_RMAP_MANY`, of the first descriptor.
 */
export type KvmRmapHead = Address & { readonly [kvmRmapHeadBrand]: never };

/** Bit 0 of a head: the rest is the address of a descriptor, not of a slot. Kernel: `KVM_RMAP_MANY`. */
export const KVM_RMAP_MANY: bigint = 1n;

/** Bit 1 of a head: somebody holds the list. Never set on an empty one. Kernel: `KVM_RMAP_LOCKED`. */
export const KVM_RMAP_LOCKED: bigint = 2n;

/** Entries beyond which whoever adds another one zaps the whole list. Kernel: `RMAP_RECYCLE_THRESHOLD`. */
export const RMAP_RECYCLE_THRESHOLD = 1000;

const UNLOCKED_MASK = 0xffff_ffff_ffff_ffffn ^ KVM_RMAP_LOCKED;
const MANY = Number(KVM_RMAP_MANY);
const TAGS = Number(KVM_RMAP_MANY | KVM_RMAP_LOCKED);

// A head as two 32-bit halves, the lower one first; an address is in the lower one. Through memory, because `Number` of a bigint takes
// V8 ten times as long, and is what walks of short lists would spend half their time with. No state: each use writes before it reads.
const halves = new Uint32Array(2);
const whole = new BigUint64Array(halves.buffer);

/** True if the value of a head has the lock bit. */
export function isRmapLocked(value: bigint): boolean {
  return BigInt.asUintN(64, value & KVM_RMAP_LOCKED) !== 0n;
}

/** True if the value of a head leads to a descriptor. */
export function isRmapMany(value: bigint): boolean {
  return BigInt.asUintN(64, value & KVM_RMAP_MANY) !== 0n;
}

/** The only slot of a head without `KVM_RMAP_MANY`; 0 if the list is empty. */
export function rmapSingle(value: bigint): Address {
  whole[0] = value;
  return ((halves[0]! & ~TAGS) >>> 0) as Address;
}

/** The first descriptor of a head with `KVM_RMAP_MANY`. */
export function rmapDescriptor(value: bigint): PteListDesc {
  return rmapSingle(value) as PteListDesc;
}

/** The value of a head whose only entry is `sptep`. */
export function singleRmapValue(sptep: Address): bigint {
  return BigInt(sptep);
}

/** The value of a head whose first descriptor is `desc`. */
export function manyRmapValue(desc: PteListDesc): bigint {
  return BigInt(desc + MANY);
}

/**
 * The contents of a head without the lock bit (kernel `kvm_rmap_get`). One load without order: whoever follows the pointer
 * holds the list's lock or `mmu_lock` for write.
 */
export function kvmRmapGet(cpu: Cpu, head: KvmRmapHead): bigint {
  return BigInt.asUintN(64, cpu.readOnce(head) & UNLOCKED_MASK);
}
