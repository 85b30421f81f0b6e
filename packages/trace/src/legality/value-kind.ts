import {
  isFrozenSpte,
  isLastSpte,
  isMmioSpte,
  isShadowPresentPte,
  type PgLevel,
  SHADOW_NONPRESENT_VALUE,
  type Spte,
  type SpteFormat,
} from "@kvm-age/spte";

/** What a value can be, where `unknown` is none of what the kernel stores. */
export type ValueKind = "leaf" | "table" | "nonpresent" | "frozen" | "mmio" | "unknown";

/** Says which kind of value stands in an entry of a table of the given level. */
export function valueKind(format: SpteFormat, spte: Spte, level: number): ValueKind {
  if (isShadowPresentPte(spte)) return isLastSpte(spte, level as PgLevel) ? "leaf" : "table";
  if (spte === SHADOW_NONPRESENT_VALUE) return "nonpresent";
  if (isFrozenSpte(format, spte)) return "frozen";
  return isMmioSpte(format, spte) ? "mmio" : "unknown";
}
