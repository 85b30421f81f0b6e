import type { Address } from "../cpu/address.js";
import type { Cpu } from "../cpu/cpu.js";

const LOW_HALF = 0xffffffffn;

/** Where a stacked item keeps its link: a u32 word outside the item itself. */
export type LinkWordOf = (item: number) => Address;

function retag(head: bigint, item: number): bigint {
  return BigInt.asUintN(64, (((head >> 32n) + 1n) << 32n) | BigInt(item));
}

/**
 * Pops an item (a non-zero u32) from the lock-free stack at `head`, or returns 0 if it is empty.
 *
 * The link of the top item is read without owning it: another processor may pop and push it meanwhile. Every
 * exchange raises the tag in the upper half, so the exchange of a reader that was overtaken fails (no ABA until the
 * tag wraps after 2^32 exchanges inside one pop). Acquire: pairs with the release in `pushTagged`, so
 * the popper sees what the pusher did to the item.
 */
export function popTagged(cpu: Cpu, head: Address, linkWordOf: LinkWordOf): number {
  for (;;) {
    // Wrapped although it is in range: with two kinds of `Cpu` in one realm, Node 20.20.2's compiler aborts the process on a shift of
    // an unwrapped result (RepresentationChangerError, seen 2026-11).
    const seen = BigInt.asUintN(64, cpu.loadAcquire(head));
    const item = Number(seen & LOW_HALF);
    if (item === 0) return 0;
    const next = cpu.readOnce32(linkWordOf(item));
    if (cpu.cmpxchg(head, seen, retag(seen, next), "acquire") === seen) return item;
  }
}

/**
 * Pushes the chain `first` … `last` (already linked from first to last) onto the stack at `head`. Release: pairs
 * with the acquire in `popTagged`.
 */
export function pushTagged(
  cpu: Cpu,
  head: Address,
  first: number,
  last: number,
  linkWordOf: LinkWordOf,
): void {
  for (;;) {
    // Wrapped although it is in range: with two kinds of `Cpu` in one realm, Node 20.20.2's compiler aborts the process on a shift of
    // an unwrapped result (RepresentationChangerError, seen 2026-11).
    const seen = BigInt.asUintN(64, cpu.loadAcquire(head));
    cpu.writeOnce32(linkWordOf(last), Number(seen & LOW_HALF));
    if (cpu.cmpxchg(head, seen, retag(seen, first), "release") === seen) return;
  }
}
