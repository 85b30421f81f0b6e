import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";

/** Bytes of one user access by KVM. */
export type UserAccessSize = 4 | 8;

/**
 * Where the bytes of a user access lie. A word of the arena has 64 bits for its whole life, so four bytes are one half of theirs:
 * little-endian, the lower half at the lower address.
 */
export interface UserWord {
  /** The 64-bit word; `NULL_ADDRESS` on a page without bytes. */
  readonly address: Address;
  /** The whole word, or its lower or upper half. */
  readonly part: "whole" | "lower" | "upper";
}

const UPPER_HALF = 0xffffffff00000000n;

/** The part at `hva` of the word that `address`, aligned to 8, holds. */
export function userWord(address: Address, hva: number, size: UserAccessSize): UserWord {
  if (size === 8) return { address, part: "whole" };
  return { address, part: hva % 8 === 0 ? "lower" : "upper" };
}

/** One load; 0 on a page without bytes. */
export function loadWord(cpu: Cpu, { address, part }: UserWord): bigint {
  return address === NULL_ADDRESS ? 0n : partOf(cpu.readOnce(address), part);
}

/**
 * One store, without order; dropped on a page without bytes. A half goes in by an exchange of the whole word: a lost one means
 * that the other half, or this one, was written meanwhile, and that must stay, or be overwritten by this later store.
 */
export function storeWord(cpu: Cpu, { address, part }: UserWord, value: bigint): void {
  if (address === NULL_ADDRESS) return;
  if (part === "whole") {
    cpu.writeOnce(address, value);
    return;
  }
  let seen = cpu.readOnce(address);
  for (;;) {
    const found = cpu.cmpxchg(address, seen, withPart(seen, part, value), "relaxed");
    if (found === seen) return;
    seen = found;
  }
}

/**
 * `cmpxchg`, full order: true if the part held `expected` and was replaced. A page without bytes holds 0. An exchange of the whole word
 * that is lost while this part still holds `expected` was lost to a write of the other half: again, with that half.
 */
export function cmpxchgWord(cpu: Cpu, word: UserWord, expected: bigint, replacement: bigint): boolean {
  const { address, part } = word;
  if (address === NULL_ADDRESS) return expected === 0n;
  if (part === "whole") return cpu.cmpxchg(address, expected, replacement, "full") === expected;
  let seen = cpu.readOnce(address);
  while (partOf(seen, part) === expected) {
    const found = cpu.cmpxchg(address, seen, withPart(seen, part, replacement), "full");
    if (found === seen) return true;
    seen = found;
  }
  return false;
}

function partOf(word: bigint, part: UserWord["part"]): bigint {
  if (part === "whole") return word;
  // Wrapped although it is in range: the compiler of Node 20.20.2 may abort on a shift of an unwrapped result of an access.
  return part === "lower" ? BigInt.asUintN(32, word) : BigInt.asUintN(64, word) >> 32n;
}

function withPart(word: bigint, part: "lower" | "upper", value: bigint): bigint {
  if (part === "lower") return (word & UPPER_HALF) | value;
  return BigInt.asUintN(32, word) | BigInt.asUintN(64, value << 32n);
}
