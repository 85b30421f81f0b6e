import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";
import type { PgLevel } from "../level/pg-level.js";
import { fieldsOfKind } from "./fields-of-kind.js";
import { formatBits } from "./format-bits.js";
import { fieldValue, type SpteField } from "./spte-field.js";
import { type SpteKind, spteKind } from "./spte-kind.js";

/** One field that differs between two values of an entry. */
export interface SpteFieldChange {
  /** Bit positions of the field, e.g. `8`. */
  readonly bits: string;
  readonly name: string;
  /** Value before and after, shifted down to bit 0. */
  readonly before: bigint;
  readonly after: bigint;
  /** Both meanings, e.g. `used since last aged -> not used since last aged`. */
  readonly meaning: string;
}

const ALL_BITS = "63:0";

function isPresentKind(kind: SpteKind): boolean {
  return kind === "leaf" || kind === "non-leaf";
}

function fieldChange(field: SpteField, before: Spte, after: Spte): SpteFieldChange {
  const [old, now] = [fieldValue(field, before), fieldValue(field, after)];
  return {
    bits: formatBits(field.mask),
    name: field.name,
    before: old,
    after: now,
    meaning: `${field.meaning(old)} -> ${field.meaning(now)}`,
  };
}

/** Whether the two kinds are read by the same fields, so that comparing them makes sense. */
function comparable(before: SpteKind, after: SpteKind): boolean {
  return before === after || (isPresentKind(before) && isPresentKind(after));
}

/**
 * Lists what changed between two values of one entry, from bit 63 down; empty when nothing did. A change of
 * kind comes first, under the name `kind`, and stands alone when the two kinds have no fields in common.
 */
export function describeSpteChange(
  format: SpteFormat,
  before: Spte,
  after: Spte,
  level?: PgLevel,
): readonly SpteFieldChange[] {
  const [kindBefore, kindAfter] = [spteKind(format, before, level), spteKind(format, after, level)];
  const kindChange: SpteFieldChange[] =
    kindBefore === kindAfter
      ? []
      : [{ bits: ALL_BITS, name: "kind", before, after, meaning: `${kindBefore} -> ${kindAfter}` }];
  if (!comparable(kindBefore, kindAfter)) return kindChange;
  const changed = fieldsOfKind(format, kindAfter).filter((field) => ((before ^ after) & field.mask) !== 0n);
  return [...kindChange, ...changed.map((field) => fieldChange(field, before, after))];
}
