import {
  checkSpteWritableInvariants,
  explainSpte,
  isEptVePossible,
  type PgLevel,
  SHADOW_NONPRESENT_VALUE,
  type Spte,
  type SpteExplanation,
  type SpteFormat,
} from "@kvm-age/spte";

/** Whether all set bits of a present entry have a meaning and its permission bits fit together. */
function isPlausiblePresent(format: SpteFormat, explanation: SpteExplanation): boolean {
  if (explanation.fields.some((field) => field.name === "other bits")) return false;
  return explanation.kind !== "leaf" || checkSpteWritableInvariants(format, explanation.spte);
}

/** Whether KVM could have written the value as an entry of this format. */
export function isPlausible(format: SpteFormat, spte: Spte, level: PgLevel | undefined): boolean {
  if (isEptVePossible(format, spte)) return false;
  const explanation = explainSpte(format, spte, level);
  if (explanation.kind === "frozen" || explanation.kind === "mmio") return true;
  if (explanation.kind === "non-present") return spte === 0n || spte === SHADOW_NONPRESENT_VALUE;
  return isPlausiblePresent(format, explanation);
}
