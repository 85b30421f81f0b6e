import { isWritablePte, type PgLevel, type Spte, spteToPfn } from "@kvm-age/spte";
import type { KvmEvent } from "@kvm-age/trace";
import { PFERR_PRESENT_MASK, PFERR_WRITE_MASK } from "@kvm-age/vcpu";
import { pferrOf } from "../input/error-code.js";
import { eventsOf, type Operation } from "../input/operation.js";
import type { ModelVcpu } from "../model/model-vcpu.js";
import { learnGuestTables } from "./learn-guest-tables.js";
import type { ReplayContext } from "./replay-context.js";

const PAGE_BYTES = 4096;

/** A fault: the model gets the address, the error code and the host's pages that the kernel got, and must do the same with them. */
export function replayFault(context: ReplayContext, operation: Operation): readonly KvmEvent[] {
  const [fault, ...outputs] = eventsOf(operation);
  if (fault?.name !== "kvm_page_fault") return [];
  const address = Number(fault.fields.address);
  context.guest.finishBefore(operation.pid, Math.floor(address / PAGE_BYTES));
  learnHostPages(context, outputs);
  context.silent.adoptFromEvents(outputs);
  const vcpu = context.vm.vcpu(fault.fields.vcpu);
  learnGuestTables(context, vcpu.walkedRoot, null, outputs);
  context.vcpus.enter(vcpu);
  context.vm.host.expectFault(
    findsPage(outputs),
    context.isConcurrent() ? mappedHvas(context, outputs) : null,
  );
  const errorCode = pferrOf(context.identity, fault.fields.error_code);
  if (context.start === null || context.isConcurrent())
    inferWriteProtection(context, vcpu, address, errorCode, outputs);
  context.silent.adoptFromFastFault(outputs);
  vcpu.fault(context.vm.cpu, address, errorCode);
  return context.compareOutputs(outputs, context.takeOutputs());
}

/**
 * Where rmaps are write-protected nothing is printed. A write that hardware refuses on an entry that the model has writable tells that the
 * dirty log of its slot was armed in the meantime.
 */
function inferWriteProtection(
  context: ReplayContext,
  vcpu: ModelVcpu,
  address: number,
  errorCode: bigint,
  outputs: readonly KvmEvent[],
): void {
  const refused = BigInt(PFERR_PRESENT_MASK | PFERR_WRITE_MASK);
  if ((errorCode & refused) !== refused) return;
  const page = Math.floor(address / PAGE_BYTES);
  const leaf = context.tables.path(vcpu.rootHpa(context.vm.cpu), page).at(-1);
  if (leaf === undefined || !leaf.last || !isWritablePte(leaf.spte)) return;
  const requested = outputs.find(({ name }) => name === "kvm_mmu_spte_requested");
  context.dirtyLog.armedFor([requested === undefined ? page : (requested.fields as { gfn: number }).gfn]);
}

/** A fault that found no page ends before a mapping is asked for: the owner's mapping was about to change. */
function findsPage(outputs: readonly KvmEvent[]): boolean {
  return outputs.some(({ name }) => name === "kvm_mmu_spte_requested");
}

/** While others change the owner's mappings, only what the kernel mapped along with the fault's page is known to have been there. */
function mappedHvas(context: ReplayContext, outputs: readonly KvmEvent[]): ReadonlySet<number> {
  const hvas = new Set<number>();
  for (const event of outputs) {
    if (event.name === "kvm_mmu_set_spte") hvas.add(context.slots.hvaOf(event.fields.gfn) ?? 0);
  }
  return hvas;
}

/** What the owner has mapped, from what the kernel found there: the page of the fault, and those that it mapped along with it. */
function learnHostPages(context: ReplayContext, outputs: readonly KvmEvent[]): void {
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

/** The page of the fault itself. Without a leaf the fault ended early, and nothing was learned of the right to write. */
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
