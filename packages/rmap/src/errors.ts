import type { Address } from "@kvm-age/machine";
import type { KvmRmapHead } from "./head/kvm-rmap-head.js";

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/**
 * Thrown when a list is not what a correct caller can have made of it (kernel: `KVM_BUG_ON_DATA_CORRUPTION`): the slot to
 * be removed is not in it, the slot to be added is, or its first descriptor is empty. The list is as it was, and unlocked.
 */
export class RmapCorruptionError extends Error {
  override readonly name = "RmapCorruptionError";

  constructor(
    readonly what: string,
    readonly head: KvmRmapHead,
    /** What the head held, without the lock bit. */
    readonly value: bigint,
    readonly sptep: Address,
  ) {
    super(`${what}: SPTE slot ${hex(sptep)}, rmap head ${hex(head)} with value ${hex(value)}`);
  }
}

/**
 * Thrown when a list would be unlocked to something it must not hold then: a value with the lock bit, or, by a reader,
 * any other than it was locked with. The head is as it was, still locked.
 */
export class RmapLockError extends Error {
  override readonly name = "RmapLockError";

  constructor(
    readonly what: string,
    readonly head: KvmRmapHead,
    readonly value: bigint,
    readonly allowed: string,
  ) {
    super(`${what}: rmap head ${hex(head)} unlocked to ${hex(value)}, allowed: ${allowed}`);
  }
}
