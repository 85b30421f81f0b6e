import type { Address, Arena } from "@kvm-age/machine";

/**
 * Address of the first byte in which two arenas differ, null if they hold the same: whether an operation that was suspended
 * and replayed did what it does at one go.
 *
 * @throws RangeError if they differ in size
 */
export function arenaDifference(one: Arena, other: Arena): Address | null {
  const bytes = Buffer.from(one.memory.buffer);
  const others = Buffer.from(other.memory.buffer);
  if (bytes.length !== others.length) {
    throw new RangeError(`arenas of ${bytes.length} and ${others.length} bytes, allowed: the same size`);
  }
  if (bytes.equals(others)) return null;
  return bytes.findIndex((byte, at) => byte !== others[at]) as Address;
}
