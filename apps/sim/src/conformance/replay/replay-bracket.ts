import type { KvmEvent } from "@kvm-age/trace";
import { AGEVM_TEST_SLOT } from "../input/agevm-slots.js";
import { eventsOf, type Operation } from "../input/operation.js";
import type { ReplayContext } from "./replay-context.js";

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
  return context.compareOutputs(outputs, context.takeOutputs());
}
