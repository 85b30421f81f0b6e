import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";
import type { PgLevel } from "../level/pg-level.js";
import { fieldsOfKind } from "./fields-of-kind.js";
import { formatBits } from "./format-bits.js";
import { fieldValue, type SpteField } from "./spte-field.js";
import { type SpteKind, spteKind } from "./spte-kind.js";
import { spteStates } from "./spte-states.js";

export type { SpteKind } from "./spte-kind.js";

/** One field of an explained entry. */
export interface ExplainedField {
  /** Bit positions, e.g. `51:12` or `11`. */
  readonly bits: string;
  readonly name: string;
  /** The field's bits shifted down to bit 0. */
  readonly value: bigint;
  readonly meaning: string;
}

/** An entry in words. */
export interface SpteExplanation {
  readonly spte: Spte;
  /** Level as given, `null` when it was not. */
  readonly level: PgLevel | null;
  readonly kind: SpteKind;
  /** Mode and rule set the entry was read under, e.g. `ept, linux-7.3`. */
  readonly readAs: string;
  /** Every named field from bit 63 down; then bits without meaning, if any are set. */
  readonly fields: readonly ExplainedField[];
  /** What the entry is going through, e.g. `aged`, `access-tracked`. */
  readonly states: readonly string[];
}

function explainField(field: SpteField, spte: Spte): ExplainedField {
  const value = fieldValue(field, spte);
  return { bits: formatBits(field.mask), name: field.name, value, meaning: field.meaning(value) };
}

/**
 * Explains an entry field by field.
 * @param level level of the table the entry was found in; without it leaf and non-leaf are told apart by
 *   W and MMU-writable, which is exact for entries KVM writes. In mode `pae`, level 3 means a PDPTE.
 */
export function explainSpte(format: SpteFormat, spte: Spte, level?: PgLevel): SpteExplanation {
  const kind = spteKind(format, spte, level);
  const fields = fieldsOfKind(format, kind);
  const named = fields.slice(0, -1);
  const shown = fields.filter((field) => named.includes(field) || (spte & field.mask) !== 0n);
  return {
    spte,
    level: level ?? null,
    kind,
    readAs: `${format.mode}, ${format.rules.name}`,
    fields: shown.map((field) => explainField(field, spte)),
    states: spteStates(format, spte, kind),
  };
}
