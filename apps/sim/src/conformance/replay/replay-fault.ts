import { isWritablePte } from "@kvm-age/spte";
import type { KvmEvent } from "@kvm-age/trace";
import { PFERR_PRESENT_MASK, PFERR_WRITE_MASK } from "@kvm-age/vcpu";
import { pferrOf } from "../input/error-code.js";
import { eventsOf, type Operation } from "../input/operation.js";
import type { ModelVcpu } from "../model/model-vcpu.js";
import { compareRefusal, isMapped, leafOf } from "./compare-refusal.js";
import { learnGuestTables } from "./learn-guest-tables.js";
import { learnHostPages } from "./learn-host-pages.js";
import type { ReplayContext } from "./replay-context.js";

const PAGE_BYTES = 4096;

/** A fault: the model gets the address, the error code and the host's pages that the kernel got, and must do the same with them. */
export function replayFault(context: ReplayContext, operation: Operation): readonly KvmEvent[] {
  const [fault, ...outputs] = eventsOf(operation);
  if (fault?.name !== "kvm_page_fault") return [];
  const address = Number(fault.fields.address);
  context.guest.finishBefore(operation.pid, Math.floor(address / PAGE_BYTES));
  learnHostPages(context, outputs);
  const vcpu = context.vm.vcpu(fault.fields.vcpu);
  learnGuestTables(context, vcpu.walkedRoot, null, outputs);
  context.vcpus.enter(vcpu);
  const concurrent = context.isConcurrent();
  context.vm.host.expectFault(
    findsPage(outputs) || !concurrent,
    concurrent ? mappedHvas(context, outputs) : null,
  );
  const errorCode = pferrOf(context.identity, fault.fields.error_code);
  if (context.start === null || concurrent) inferWriteProtection(context, vcpu, address, errorCode, outputs);
  context.silent.adoptFromFastFault(outputs);
  if (!concurrent) {
    inferUnmapping(context, vcpu, address, errorCode);
    compareRefusal(context, vcpu, fault, errorCode);
  }
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
  const spte = leafOf(context, vcpu, page);
  if (spte === null || !isWritablePte(spte)) return;
  const requested = outputs.find(({ name }) => name === "kvm_mmu_spte_requested");
  context.dirtyLog.armedFor([requested === undefined ? page : (requested.fields as { gfn: number }).gfn]);
}

/** The shadow MMU prints nothing when it unmaps: without notes, a fault that finds no entry where the model has one tells of it. */
function inferUnmapping(context: ReplayContext, vcpu: ModelVcpu, address: number, errorCode: bigint): void {
  const present = (errorCode & BigInt(PFERR_PRESENT_MASK)) !== 0n;
  if (present || context.start !== null || context.identity.tdpMmu || vcpu.nestedRoot !== null) return;
  const page = Math.floor(address / PAGE_BYTES);
  if (isMapped(context, leafOf(context, vcpu, page))) context.unseenUnmaps.adoptFromFault(page);
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
