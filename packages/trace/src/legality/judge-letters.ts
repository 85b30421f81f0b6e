import { isExecutablePte, isShadowPresentPte, isUserPte, type Spte } from "@kvm-age/spte";
import type { TraceIdentity } from "../identify/trace-identity.js";
import type { KvmEventFields } from "../schema/kvm-event-fields.js";
import { type Finding, hex } from "./findings.js";

/** Whether the letters of `kvm_mmu_set_spte` fit its value. `r` is always printed where entries have a present mask, `w` repeats a bit. */
export function judgeLetters(
  identity: TraceIdentity,
  fields: KvmEventFields["kvm_mmu_set_spte"],
): Finding | null {
  const { format } = identity;
  const spte = fields.spte as Spte;
  if (!isShadowPresentPte(spte)) return null;
  const wrong = (letter: string): Finding => ({
    rule: "letters-agree",
    detail: `the letter ${letter} does not fit ${hex(spte)}`,
  });
  if (!fields.r) return wrong("r");
  if (fields.x !== isExecutablePte(format, spte)) return wrong("x");
  if (fields.u !== null && fields.u !== isUserPte(format, spte)) return wrong("u");
  return null;
}
