import { isShadowPresentPte, type Spte } from "@kvm-age/spte";
import type { KvmEvent } from "@kvm-age/trace";
import type { ReplayContext } from "./replay-context.js";

const WRITABLE = 2n;

/** Does to the model what must have been done to the kernel for it to print these events, whose input is not in the trace. */
export function actOut(context: ReplayContext, pid: number, outputs: readonly KvmEvent[]): void {
  const { vm } = context;
  const first = outputs[0]!;
  if (first.name === "kvm_mmu_zap_all_fast") vm.zapAllFast();
  else if (first.name === "kvm_mmu_pagetable_walk") context.vcpus.translate(pid, outputs);
  else if (rootOfEntry(context, outputs) !== null) enterGuest(context, pid, rootOfEntry(context, outputs)!);
  else if (isInvalidRootFreed(context, first)) vm.unloadVcpus();
  else if (context.dirtyLogComing(pid, outputs.at(-1)!.line)) context.dirtyLog.read();
  else if (armsDirtyLog(context, outputs)) context.dirtyLog.armedFor(gfnOf(outputs)!);
  // The owner's address space goes away.
  else vm.notifier.release(vm.cpu);
}

type RootEvent = KvmEvent & { name: "kvm_mmu_get_page" };

/** The root that is made or found, before anything else happens that is not part of a guest entry. */
function rootOfEntry(context: ReplayContext, outputs: readonly KvmEvent[]): RootEvent | null {
  for (const event of outputs) {
    if (event.name === "kvm_mmu_zap_all_fast") return null;
    if (event.name === "kvm_mmu_get_page" && event.fields.level === context.rootPageLevel) return event;
  }
  return null;
}

/** A vCPU that has a root and gets another one changes its context: it goes over to a nested guest. */
function enterGuest(context: ReplayContext, pid: number, { fields }: RootEvent): void {
  const { cpu } = context.vm;
  const vcpu = context.vcpus.ofTask(pid);
  const shadowsL1 = !fields.direct && context.identity.mode !== "shadow";
  if (shadowsL1) vcpu.enterNested(cpu, fields.gfn * 4096);
  else if (vcpu.isSettled(cpu) && fields.created) vcpu.switchGuestMode(cpu);
  context.vcpus.enter(vcpu);
}

/** The last use of an invalid root is over: its vCPU goes. */
function isInvalidRootFreed(context: ReplayContext, event: KvmEvent): boolean {
  return (
    event.name === "kvm_mmu_prepare_zap_page" &&
    event.fields.level === context.rootPageLevel &&
    event.fields.invalid
  );
}

/** Whether leaves lose W or D and nothing else, or huge pages are split for it: the dirty log is switched on, or read. */
function armsDirtyLog(context: ReplayContext, outputs: readonly KvmEvent[]): boolean {
  const { shadowDirtyMask } = context.identity.format;
  const first = outputs[0]!;
  if (first.name === "kvm_mmu_get_page")
    return outputs.some((event) => event.name === "kvm_mmu_split_huge_page");
  if (first.name !== "kvm_tdp_mmu_spte_changed") return false;
  const { old_spte, new_spte } = first.fields;
  const lost = old_spte & ~new_spte;
  const gained = new_spte & ~old_spte;
  return (
    isShadowPresentPte(new_spte as Spte) && gained === 0n && (lost & ~(WRITABLE | shadowDirtyMask)) === 0n
  );
}

function gfnOf(outputs: readonly KvmEvent[]): number | null {
  const event = outputs.find(
    ({ name }) => name === "kvm_tdp_mmu_spte_changed" || name === "kvm_mmu_get_page",
  );
  return event === undefined ? null : (event.fields as { gfn: number }).gfn;
}
