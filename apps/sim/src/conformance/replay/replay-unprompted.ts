import type { KvmEvent, TraceRecord } from "@kvm-age/trace";
import type { ReplayContext } from "./replay-context.js";

const ROOT_LEVEL = 4;

/** Outputs whose input is not in the trace; what they are tells what it was. */
export function replayUnprompted(context: ReplayContext, pid: number, outputs: readonly KvmEvent[]): void {
  if (outputs.length === 0) return;
  context.silent.adoptFromEvents(outputs);
  const { vm } = context;
  if (outputs.some((event) => isRootMade(event))) context.enter(vm.vcpu(context.vcpuOf(pid)));
  else if (context.dirtyLogComing(pid, outputs.at(-1)!.line)) context.dirtyLog.read();
  else vm.notifier.release(vm.cpu);
  const rest = context.compareOutputs(outputs, context.takeOutputs());
  for (const event of rest) context.unexplained(event);
}

function isRootMade(event: TraceRecord): boolean {
  if (event.kind !== "kvm" || event.name !== "kvm_mmu_get_page") return false;
  return event.fields.level === ROOT_LEVEL;
}
