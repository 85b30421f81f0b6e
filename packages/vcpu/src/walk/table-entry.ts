import type { Address, Cpu } from "@kvm-age/machine";
import type { PageFormat } from "../format/page-format.js";

const FRAMES_PER_HIGH_UNIT = 2 ** 20;

/**
 * Splits a 64-bit word into its halves, low one first (processors that JavaScript runs on are little-endian): several
 * times faster than shifting a `bigint`. Written and read without an access in between, so it is no state.
 */
const splitWord = new BigUint64Array(1);
const splitHalves = new Uint32Array(splitWord.buffer);

/** Bits 31:0 of an entry. Leaves the high half for `highHalf`, until the next call. */
export function lowHalf(entry: bigint): number {
  splitWord[0] = entry;
  return splitHalves[0]!;
}

/** Bits 63:32 of the entry that `lowHalf` was called with last. */
export function highHalf(): number {
  return splitHalves[1]!;
}

/** The frame number in an entry. */
export function frameOf({ addressHighMask }: PageFormat, low: number, high: number): number {
  return (high & addressHighMask) * FRAMES_PER_HIGH_UNIT + (low >>> 12);
}

/**
 * Sets flags in an entry as it was read. One compare-exchange, as the hardware's locked update: it pairs with every
 * software change of the entry (aging, zapping, write protection; in guest tables the guest's own stores). If
 * somebody changed the entry in between, nothing is written and the answer is false: a flag is never added to a value
 * the walk did not check.
 */
export function setFlags(cpu: Cpu, address: Address, entry: bigint, flags: number): boolean {
  const replacement = BigInt.asUintN(64, entry | BigInt(flags));
  return cpu.cmpxchg(address, entry, replacement, "full") === entry;
}
