import { isLargePte, isShadowPresentPte, type Spte } from "@kvm-age/spte";
import type { KvmEvent } from "@kvm-age/trace";
import type { ReplayContext } from "./replay-context.js";

const WRITABLE = 2n;

/**
 * Does to the model what must have been done to the kernel for it to print these events, whose input is not in the trace. Of what cannot be
 * recognised nothing is done, and the events stay unexplained.
 */
export function actOut(context: ReplayContext, pid: number, outputs: readonly KvmEvent[]): void {
  const { vm } = context;
  const first = outputs[0]!;
  if (first.name === "kvm_mmu_zap_all_fast") vm.zapAllFast();
  else if (first.name === "kvm_mmu_pagetable_walk") context.vcpus.translate(pid, outputs);
  else if (rootOfEntry(context, outputs) !== null) enterGuest(context, pid, rootOfEntry(context, outputs)!);
  else if (isInvalidRootFreed(context, first)) vm.unloadVcpus();
  else if (context.dirtyLogComing(pid, outputs.at(-1)!.line)) context.dirtyLog.read();
  else if (armsDirtyLog(context, first)) context.dirtyLog.armedFor(armedGfns(context, outputs));
  else if (context.dirtyLog.isLogged(collapsedGfn(outputs)))
    context.dirtyLog.disarmFor(collapsedGfn(outputs)!);
  else if (isTeardown(first)) vm.notifier.release(vm.cpu);
}

/**
 * Guest page at which a table gives way to a huge page: 7.3 puts the leaf in its place at once, 6.12 leaves the next fault to do it. A teardown
 * begins with the entries of the highest level.
 */
function collapsedGfn(outputs: readonly KvmEvent[]): number | null {
  for (const event of outputs) {
    if (event.name !== "kvm_tdp_mmu_spte_changed" || event.fields.level === 1) continue;
    const { gfn, level, old_spte, new_spte } = event.fields;
    const tableGoes = isShadowPresentPte(old_spte as Spte) && !isLargePte(old_spte as Spte);
    return level === 2 && tableGoes && (isLargePte(new_spte as Spte) || event === outputs[0]) ? gfn : null;
  }
  return null;
}

/** An entry or a table goes, for no reason that the trace gives: the owner's address space goes away. */
function isTeardown(event: KvmEvent): boolean {
  if (event.name === "kvm_mmu_prepare_zap_page") return true;
  return event.name === "kvm_tdp_mmu_spte_changed" && !isShadowPresentPte(event.fields.new_spte as Spte);
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

/** Whether a leaf loses W or D and nothing else, or a table is made that is no vCPU's root, to split a huge page: the dirty log is armed. */
function armsDirtyLog(context: ReplayContext, event: KvmEvent): boolean {
  if (event.name === "kvm_mmu_get_page") return true;
  if (event.name !== "kvm_tdp_mmu_spte_changed") return false;
  const { old_spte, new_spte } = event.fields;
  const lost = old_spte & ~new_spte;
  const gained = new_spte & ~old_spte;
  const armed = WRITABLE | context.identity.format.shadowDirtyMask;
  return isShadowPresentPte(new_spte as Spte) && gained === 0n && (lost & ~armed) === 0n;
}

/** The pages for which that is done at a stretch, of one slot. */
function armedGfns(context: ReplayContext, outputs: readonly KvmEvent[]): readonly number[] {
  const gfns: number[] = [];
  for (const event of outputs) {
    const part = event.name === "kvm_mmu_split_huge_page" || armsDirtyLog(context, event) || splits(event);
    if (!part) break;
    const { gfn } = event.fields as { gfn: number };
    if (gfns.length > 0 && context.slots.slotOf(gfn) !== context.slots.slotOf(gfns[0]!)) break;
    gfns.push(gfn);
  }
  return gfns;
}

/** A huge leaf becomes a link to the table that was made for it. */
function splits(event: KvmEvent): boolean {
  return (
    event.name === "kvm_tdp_mmu_spte_changed" &&
    event.fields.level > 1 &&
    isLargePte(event.fields.old_spte as Spte)
  );
}
