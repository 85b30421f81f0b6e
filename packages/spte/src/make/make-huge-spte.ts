import type { Spte } from "../address/spte.js";
import { InvalidPgLevelError, NotPresentSpteError } from "../errors.js";
import { PT_PAGE_SIZE_MASK } from "../format/hardware-bits.js";
import type { SpteFormat } from "../format/spte-format.js";
import { kvmHpageGfnShift } from "../level/kvm-hpage-gfn-shift.js";
import { KVM_MAX_HUGEPAGE_LEVEL, PG_LEVEL_4K, type PgLevel } from "../level/pg-level.js";
import { isShadowPresentPte } from "../predicate/is-shadow-present-pte.js";
import { changeSpteExecutable } from "./change-spte-executable.js";

/** Flag bits below the address field. */
const LOW_FLAGS = 0xfffn;

/**
 * Huge leaf that covers the given smaller leaf, for recovering a split page (`make_huge_spte`). All flags
 * are taken over; under the NX-huge-page mitigation no execution remains.
 * @param level level of the new leaf, 2 or 3
 * @param nxHugePageMitigation whether the mitigation is on for the VM
 * @throws NotPresentSpteError when `smallSpte` is not shadow-present
 * @throws InvalidPgLevelError when `level` cannot hold a huge leaf
 */
export function makeHugeSpte(
  format: SpteFormat,
  smallSpte: Spte,
  level: PgLevel,
  nxHugePageMitigation: boolean,
): Spte {
  if (!isShadowPresentPte(smallSpte)) throw new NotPresentSpteError(smallSpte);
  if (level === PG_LEVEL_4K || level > KVM_MAX_HUGEPAGE_LEVEL) {
    throw new InvalidPgLevelError(level, 2, KVM_MAX_HUGEPAGE_LEVEL);
  }
  const offsetBits = (1n << BigInt(12 + kvmHpageGfnShift(level))) - 1n;
  const aligned = (smallSpte | PT_PAGE_SIZE_MASK) & (~offsetBits | LOW_FLAGS);
  const hugeSpte = BigInt.asUintN(64, aligned) as Spte;
  return nxHugePageMitigation ? changeSpteExecutable(format, hugeSpte, 0) : hugeSpte;
}
