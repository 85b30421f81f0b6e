import type { SpteFormat } from "../format/spte-format.js";
import { mmioFields } from "./mmio-fields.js";
import { pdpteFields } from "./pdpte-fields.js";
import { presentFields } from "./present-fields.js";
import { type SpteField, uncoveredBits } from "./spte-field.js";
import type { SpteKind } from "./spte-kind.js";

function namedFields(format: SpteFormat, kind: SpteKind): readonly SpteField[] {
  if (kind === "leaf" || kind === "non-leaf") return presentFields(format);
  if (kind === "mmio") return mmioFields(format);
  return kind === "pdpte" ? pdpteFields(format) : [];
}

/** The fields an entry of the kind is read by, and one more for all bits that have no meaning in it. */
export function fieldsOfKind(format: SpteFormat, kind: SpteKind): readonly SpteField[] {
  const fields = namedFields(format, kind);
  const rest: SpteField = {
    name: fields.length === 0 ? "value" : "other bits",
    mask: uncoveredBits(fields),
    meaning: () => (fields.length === 0 ? "read as a whole" : "no meaning in this format"),
  };
  return [...fields, rest];
}
