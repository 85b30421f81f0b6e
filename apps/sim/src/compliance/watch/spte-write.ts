import type { AccessKind } from "@kvm-age/machine";
import {
  isAccessTrackSpte,
  isMmuWritableSpte,
  isShadowPresentPte,
  markSpteForAccessTrack,
  restoreAccTrackSpte,
  type Spte,
  type SpteFormat,
} from "@kvm-age/spte";

const PT_WRITABLE_MASK = 2n;

/** A write of one 64-bit word, before it happens. */
export interface WordWrite {
  readonly kind: AccessKind;
  /** What a compare-exchange expects. */
  readonly expected?: bigint;
  /** What is stored, or the operand of an AND or OR. */
  readonly value: bigint;
}

function differsOnlyIn(left: bigint, right: bigint, mask: bigint): boolean {
  return BigInt.asUintN(64, (left ^ right) & ~mask) === 0n;
}

/** The flags that hardware sets in entries of a format. */
function hardwareFlags(format: SpteFormat): bigint {
  // In EPT A and D are bits 8 and 9, elsewhere 5 and 6; over EPT without A/D bits there are none.
  return format.kvmAdEnabled ? format.shadowAccessedMask | format.shadowDirtyMask : 0n;
}

/** Hardware sets A, and D. */
function isHardwareUpdate(format: SpteFormat, before: Spte, after: Spte): boolean {
  const flags = hardwareFlags(format);
  return differsOnlyIn(before, after, flags) && BigInt.asUintN(64, before & ~after) === 0n;
}

/** Aging clears A of the very value that it read, or hides its permissions. */
function isAging(format: SpteFormat, before: Spte, after: Spte): boolean {
  if (!isShadowPresentPte(before)) return false;
  const cleared = BigInt.asUintN(64, before & ~format.shadowAccessedMask);
  return after === cleared || after === markSpteForAccessTrack(format, before);
}

/** A fast page fault gives back what aging hid, with A, and W where MMU-writable says so. */
function isFastPageFault(format: SpteFormat, before: Spte, after: Spte): boolean {
  if (!isShadowPresentPte(before)) return false;
  const restored = isAccessTrackSpte(format, before)
    ? (BigInt.asUintN(64, restoreAccTrackSpte(format, before) | format.shadowAccessedMask) as Spte)
    : before;
  if (after === restored) return true;
  const writable = BigInt.asUintN(64, restored | PT_WRITABLE_MASK);
  return after === writable && isMmuWritableSpte(format, before);
}

/**
 * Whether a write of a leaf, or of an entry that hardware walks through, is one of those that need no `mmu_lock`: hardware's, aging's, a fast
 * page fault's. Each of them is atomic, starts from a present value, and changes only what it is for.
 *
 * @param isLeaf whether the entry maps a page: only hardware's flags change in others
 */
export function isLocklessSpteWrite(format: SpteFormat, write: WordWrite, isLeaf: boolean): boolean {
  const { kind, value } = write;
  const accessed = format.shadowAccessedMask;
  if (kind === "fetchAnd" || kind === "clearBitsWhere") {
    // `fetch-and` of 6.15's aging, and the native loop of either: whatever the entry holds, only A goes.
    const cleared = kind === "fetchAnd" ? BigInt.asUintN(64, ~value) : value;
    return isLeaf && BigInt.asUintN(64, cleared & ~accessed) === 0n;
  }
  if (kind !== "cmpxchg") return false;
  const before = write.expected as Spte;
  const after = value as Spte;
  if (isHardwareUpdate(format, before, after)) return true;
  return isLeaf && (isAging(format, before, after) || isFastPageFault(format, before, after));
}
