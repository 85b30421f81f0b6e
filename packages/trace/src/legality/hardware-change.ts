import { isShadowPresentPte, isWritablePte, type Spte, type SpteFormat, spteAdEnabled } from "@kvm-age/spte";

/** The bits that the CPU may set in an entry while nobody of the kernel touches it. */
function bitsOfTheCpu(format: SpteFormat, spte: Spte, leaf: boolean): bigint {
  if (!format.kvmAdEnabled || !isShadowPresentPte(spte) || !spteAdEnabled(format, spte)) return 0n;
  const dirty = leaf && isWritablePte(spte) ? format.shadowDirtyMask : 0n;
  return BigInt.asUintN(64, format.shadowAccessedMask | dirty);
}

/**
 * Whether an entry last seen as `known` can show as `seen` although no event told of a change: the CPU sets Accessed, and Dirty where it
 * may write. It clears nothing.
 */
export function isHardwareChange(format: SpteFormat, known: Spte, seen: Spte, leaf: boolean): boolean {
  if (known === seen) return true;
  const allowed = bitsOfTheCpu(format, known, leaf);
  return (
    BigInt.asUintN(64, known | allowed) === BigInt.asUintN(64, seen | allowed) &&
    (known & ~seen & allowed) === 0n
  );
}

/** How many bits differ. */
export function differingBits(one: bigint, other: bigint): number {
  let rest = BigInt.asUintN(64, one ^ other);
  let count = 0;
  for (; rest !== 0n; rest = BigInt.asUintN(64, rest & (rest - 1n))) count++;
  return count;
}
