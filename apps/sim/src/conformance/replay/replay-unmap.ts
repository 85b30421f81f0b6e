import type { Hva } from "@kvm-age/memslot";
import type { KvmEvent } from "@kvm-age/trace";
import { eventsOf, type Operation } from "../input/operation.js";
import { compareHandlerCalls } from "./replay-aging.js";
import type { ReplayContext } from "./replay-context.js";

/** An invalidation: the model zaps what the kernel zapped. Its end has no event; it is taken to be over before the next operation. */
export function replayUnmap(context: ReplayContext, operation: Operation): readonly KvmEvent[] {
  const [unmap, ...outputs] = eventsOf(operation);
  if (unmap?.name !== "kvm_unmap_hva_range") return [];
  const { vm } = context;
  const range = { start: unmap.fields.start as Hva, end: unmap.fields.end as Hva, blockable: true };
  context.silent.adoptFromEvents(outputs);
  vm.notifier.invalidateRangeStart(vm.cpu, range);
  compareHandlerCalls(context, operation, "unmap_gfn", vm.kvm.takeCalls());
  context.unseenUnmaps.adoptFromEvents(range, outputs);
  const rest = context.compareOutputs(outputs, context.takeOutputs());
  vm.host.forget(range.start, range.end);
  vm.notifier.invalidateRangeEnd(vm.cpu, range);
  return rest;
}
