import {
  isFrozenSpte,
  isLastSpte,
  isMmioSpte,
  isShadowPresentPte,
  isWritablePte,
  type PgLevel,
  type Spte,
  type SpteFormat,
  type SpteKind,
  spteToPfn,
} from "@kvm-age/spte";
import { isAgingChange } from "./is-aging-change.js";

/** What a change did to an entry. */
export type SpteChangeKind = keyof typeof SPTE_CHANGE_WORDS;

/** The kinds of changes in words. */
export const SPTE_CHANGE_WORDS = {
  map: "page mapped",
  link: "table linked",
  mmio: "marked as MMIO",
  age: "page aged",
  zap: "page zapped",
  unlink: "table unlinked",
  freeze: "empty entry frozen",
  release: "entry emptied",
  split: "huge page replaced by a table",
  collapse: "table replaced by a huge page",
  writeProtect: "page write-protected",
  clearDirty: "Dirty cleared",
  allow: "page made writable or accessible",
  remap: "page mapped to another frame",
  relink: "table replaced by another",
  unchanged: "nothing changed",
  other: "other change",
} as const;

function entryKind(format: SpteFormat, spte: Spte, level: PgLevel): SpteKind {
  if (isShadowPresentPte(spte)) return isLastSpte(spte, level) ? "leaf" : "non-leaf";
  if (isFrozenSpte(format, spte)) return "frozen";
  return isMmioSpte(format, spte) ? "mmio" : "non-present";
}

function isEmpty(kind: SpteKind): boolean {
  return kind === "non-present" || kind === "frozen" || kind === "mmio";
}

function leafChange(format: SpteFormat, before: Spte, after: Spte, level: PgLevel): SpteChangeKind {
  if (spteToPfn(format, before) !== spteToPfn(format, after)) return "remap";
  if (isAgingChange(format, before, after, level)) return "age";
  if (isWritablePte(before) && !isWritablePte(after)) return "writeProtect";
  const lost = BigInt.asUintN(64, before ^ BigInt.asUintN(64, before & after));
  const gained = BigInt.asUintN(64, after ^ BigInt.asUintN(64, before & after));
  if (lost === format.shadowDirtyMask && gained === 0n) return "clearDirty";
  return gained !== 0n ? "allow" : "other";
}

function emptiedChange(before: SpteKind, after: SpteKind): SpteChangeKind {
  if (before === "leaf") return "zap";
  if (before === "non-leaf") return "unlink";
  return after === "frozen" ? "freeze" : "release";
}

/** Says what a change did to an entry, by its values alone. */
export function spteChangeKind(
  format: SpteFormat,
  before: Spte,
  after: Spte,
  level: PgLevel,
): SpteChangeKind {
  if (before === after) return "unchanged";
  const was = entryKind(format, before, level);
  const is = entryKind(format, after, level);
  if (is === "mmio") return "mmio";
  if (isEmpty(is)) return emptiedChange(was, is);
  if (isEmpty(was)) return is === "leaf" ? "map" : "link";
  if (was === "leaf" && is === "leaf") return leafChange(format, before, after, level);
  if (was === "leaf") return "split";
  return is === "leaf" ? "collapse" : "relink";
}
