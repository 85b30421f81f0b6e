import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";
import { PG_LEVEL_1G, type PgLevel } from "../level/pg-level.js";
import { isMmioSpte } from "../mmio/is-mmio-spte.js";
import { isFrozenSpte } from "../predicate/is-frozen-spte.js";
import { isLargePte, isLastSpte } from "../predicate/is-last-spte.js";
import { isShadowPresentPte } from "../predicate/is-shadow-present-pte.js";
import { isMmuWritableSpte, isWritablePte } from "../predicate/writability.js";

/** What an entry is. `pdpte` is a present entry of a PAE root array, which has a format of its own. */
export type SpteKind = "leaf" | "non-leaf" | "mmio" | "frozen" | "non-present" | "pdpte";

/**
 * Tells leaf from non-leaf without the level. Every non-leaf has W without MMU-writable, which no leaf may
 * have, so entries that hold the writability invariants are told apart exactly.
 */
function looksLikeLeaf(format: SpteFormat, spte: Spte): boolean {
  return isLargePte(spte) || !isWritablePte(spte) || isMmuWritableSpte(format, spte);
}

/** Whether the entry sits in a PAE root array. */
export function isPaeRootLevel(format: SpteFormat, level: PgLevel | undefined): boolean {
  return format.mode === "pae" && level === PG_LEVEL_1G;
}

/** Classifies an entry; without a level a present one is classified by its own bits. */
export function spteKind(format: SpteFormat, spte: Spte, level: PgLevel | undefined): SpteKind {
  if (isPaeRootLevel(format, level)) return spte === 0n ? "non-present" : "pdpte";
  if (isFrozenSpte(format, spte)) return "frozen";
  if (!isShadowPresentPte(spte)) return isMmioSpte(format, spte) ? "mmio" : "non-present";
  const leaf = level === undefined ? looksLikeLeaf(format, spte) : isLastSpte(spte, level);
  return leaf ? "leaf" : "non-leaf";
}
