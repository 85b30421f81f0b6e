import { isWritablePte, type Spte } from "@kvm-age/spte";
import type { KvmEvent } from "@kvm-age/trace";
import { PFERR_PRESENT_MASK, PFERR_WRITE_MASK } from "@kvm-age/vcpu";
import type { ModelVcpu } from "../model/model-vcpu.js";
import type { ReplayContext } from "./replay-context.js";

const PAGE_BYTES = 4096;

/**
 * A fault says what the processor found: a present leaf or none, and a write that was not allowed. The model's entry must refuse the access in
 * the same way. With a nested guest the fault is at an entry of tables that are not looked at here.
 */
export function compareRefusal(
  context: ReplayContext,
  vcpu: ModelVcpu,
  { line, fields }: KvmEvent & { name: "kvm_page_fault" },
  errorCode: bigint,
): void {
  if (vcpu.nestedRoot !== null) return;
  const gfn = Math.floor(Number(fields.address) / PAGE_BYTES);
  const present = (errorCode & BigInt(PFERR_PRESENT_MASK)) !== 0n;
  const writes = (errorCode & BigInt(PFERR_WRITE_MASK)) !== 0n;
  const spte = leafOf(context, vcpu, gfn);
  const allows = present && writes && spte !== null && isWritablePte(spte);
  const kernel = present ? "a present entry without the right" : "no present entry";
  const refusing = isMapped(context, spte) ? "a present entry without the right" : "no present entry";
  context.compareValue("answer", line, "what refuses the access", kernel, allows ? "nothing" : refusing);
}

/** The leaf of a page in a vCPU's tables, null if there is none. */
export function leafOf(context: ReplayContext, vcpu: ModelVcpu, gfn: number): Spte | null {
  const leaf = context.tables.path(vcpu.rootHpa(context.vm.cpu), gfn).at(-1);
  return leaf?.last === true ? leaf.spte : null;
}

/** Whether the processor takes an entry for present: EPT by any right, so that an access-tracked one is not, else by P. */
export function isMapped({ identity }: ReplayContext, spte: Spte | null): boolean {
  return spte !== null && (spte & (identity.mode === "ept" ? 7n : 1n)) !== 0n;
}
