import { type PgLevel, type Spte, spteToPfn } from "@kvm-age/spte";
import type { KvmEvent } from "@kvm-age/trace";
import type { ReplayContext } from "./replay-context.js";

/** What the owner has mapped, from what the kernel found there: the page of the fault, and those that it mapped along with it. */
export function learnHostPages(context: ReplayContext, outputs: readonly KvmEvent[]): void {
  for (const event of outputs) {
    if (event.name === "kvm_mmu_set_spte") learnFromLeaf(context, event);
  }
  for (const event of outputs) {
    if (event.name === "kvm_mmu_spte_requested") learnFromRequest(context, event, outputs);
  }
}

function learnFromLeaf(context: ReplayContext, { fields }: KvmEvent & { name: "kvm_mmu_set_spte" }): void {
  const { format } = context.identity;
  const hva = context.slots.hvaOf(fields.gfn);
  if (hva === null) return;
  const writable = (fields.spte & format.shadowHostWritableMask) !== 0n;
  const level = hostLevel(context, hva, fields.level);
  const pfn = spteToPfn(format, fields.spte as Spte);
  context.idle.pageFound(fields.gfn, pfn);
  context.vm.host.learnPage(hva, pfn, level, writable);
}

/**
 * The page of the fault itself, if the kernel printed no leaf: one that is missing is then the one mismatch. Nothing tells of the right to
 * write, which is taken for granted.
 */
function learnFromRequest(
  context: ReplayContext,
  { fields }: KvmEvent & { name: "kvm_mmu_spte_requested" },
  outputs: readonly KvmEvent[],
): void {
  const hva = context.slots.hvaOf(fields.gfn);
  const mapped = outputs.some((event) => event.name === "kvm_mmu_set_spte" && event.fields.gfn <= fields.gfn);
  if (hva === null || mapped) return;
  context.vm.host.learnPage(hva, fields.pfn, hostLevel(context, hva, fields.level), true);
}

/** KVM may map a page of a huge host mapping by a small one; what is known to be huge stays so until it is unmapped. */
function hostLevel(context: ReplayContext, hva: number, level: number): PgLevel {
  return Math.max(level, context.vm.host.page(hva)?.level ?? 1) as PgLevel;
}
