import { markSpteForAccessTrack, type Spte, type SpteFormat, spteAdEnabled } from "@kvm-age/spte";

/** What aging makes of a leaf. */
export function aged(format: SpteFormat, spte: Spte): Spte {
  if (!spteAdEnabled(format, spte)) return markSpteForAccessTrack(format, spte);
  return BigInt.asUintN(64, spte & ~format.shadowAccessedMask) as Spte;
}

/** Whether aging, which the shadow MMU does without an event, may have made the flags of one of these. */
export function isAgedFormOf(format: SpteFormat, flags: bigint, made: ReadonlySet<bigint>): boolean {
  for (const young of made) if (aged(format, young as Spte) === flags) return true;
  return false;
}
