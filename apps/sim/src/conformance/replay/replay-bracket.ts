import type { KvmEvent } from "@kvm-age/trace";
import { AGEVM_TEST_SLOT } from "../input/agevm-slots.js";
import { eventsOf, type Operation, probesOf } from "../input/operation.js";
import { compareHandlerCalls } from "./replay-aging.js";
import type { ReplayContext } from "./replay-context.js";

const UNMAP_PROBE = "unmap_gfn";

/** A change of the test slot, between the notes that announce and end it. */
export function replayBracket(context: ReplayContext, operation: Operation): readonly KvmEvent[] {
  const { vm, slots } = context;
  const slot = slots.slot(AGEVM_TEST_SLOT)!;
  const outputs = eventsOf(operation);
  context.silent.adoptFromEvents(outputs);
  switch (operation.note!.what) {
    case "log 1 begin":
      vm.setSlot(slot, true);
      context.dirtyLog.switched(true);
      break;
    case "log 0 begin":
      vm.setSlot(slot, false);
      context.dirtyLog.switched(false);
      break;
    case "slot_delete begin":
      vm.setSlot({ ...slot, pages: 0 });
      context.dirtyLog.switched(false);
      break;
    case "slot_add begin":
      vm.setSlot(slot);
      break;
  }
  compareUnmapping(context, operation);
  return context.compareOutputs(outputs, context.takeOutputs());
}

/** A slot that is deleted by itself is unmapped by the notifier's handler, called from its own file: compilers may inline it past the probe. */
function compareUnmapping(context: ReplayContext, operation: Operation): void {
  const calls = context.vm.kvm.takeCalls();
  if (probesOf(operation, UNMAP_PROBE).length > 0)
    compareHandlerCalls(context, operation, UNMAP_PROBE, calls);
}
