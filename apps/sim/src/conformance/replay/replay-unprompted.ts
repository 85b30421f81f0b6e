import type { KvmEvent } from "@kvm-age/trace";
import type { ReplayContext } from "./replay-context.js";

const ROOT_LEVEL = 4;

/**
 * Outputs whose inputs are not in the trace; what they are tells what they were. Several may follow each other: what one input leaves
 * over belongs to the next.
 */
export function replayUnprompted(context: ReplayContext, pid: number, outputs: readonly KvmEvent[]): void {
  let left = outputs;
  while (left.length > 0) {
    context.silent.adoptFromEvents(left);
    causeOf(context, pid, left)();
    const rest = context.compareOutputs(left, context.takeOutputs());
    if (rest.length === left.length) break;
    left = rest;
  }
  for (const event of left) context.unexplained(event);
}

/** What must have happened. */
function causeOf(context: ReplayContext, pid: number, outputs: readonly KvmEvent[]): () => void {
  const { vm } = context;
  const [first] = outputs;
  if (first!.name === "kvm_mmu_zap_all_fast") return () => vm.zapAllFast();
  if (entersGuest(outputs)) return () => context.enter(vm.vcpu(context.vcpuOf(pid)));
  if (isInvalidRootFreed(first!)) return () => vm.unloadVcpus();
  if (context.dirtyLogComing(pid, outputs.at(-1)!.line)) return () => context.dirtyLog.read();
  // The owner's address space goes away.
  return () => vm.notifier.release(vm.cpu);
}

/** A root is made or found before anything else happens that is not part of an entry. */
function entersGuest(outputs: readonly KvmEvent[]): boolean {
  const root = outputs.findIndex((event) => event.name === "kvm_mmu_get_page" && event.fields.level === ROOT_LEVEL);
  return root >= 0 && outputs.slice(0, root).every((event) => event.name !== "kvm_mmu_zap_all_fast");
}

/** The last use of an invalid root is over: its vCPU goes. */
function isInvalidRootFreed(event: KvmEvent): boolean {
  return event.name === "kvm_mmu_prepare_zap_page" && event.fields.level === ROOT_LEVEL && event.fields.invalid;
}
