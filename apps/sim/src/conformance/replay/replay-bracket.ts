import { eventsOf, type Operation } from "../input/operation.js";
import type { ReplayContext } from "./replay-context.js";

const TEST_SLOT = 1;

/** A change of the test slot, between the notes that announce and end it. */
export function replayBracket(context: ReplayContext, operation: Operation): void {
  const { vm, slots } = context;
  const slot = slots.slot(TEST_SLOT)!;
  const outputs = eventsOf(operation);
  context.silent.adoptFromEvents(outputs);
  switch (operation.note!.what) {
    case "log 1 begin":
      vm.setSlot(slot, true);
      break;
    case "log 0 begin":
      vm.setSlot(slot, false);
      break;
    case "slot_delete begin":
      vm.setSlot({ ...slot, pages: 0 });
      break;
    case "slot_add begin":
      vm.setSlot(slot);
      break;
  }
  for (const event of context.compareOutputs(outputs, context.takeOutputs())) context.unexplained(event);
}
