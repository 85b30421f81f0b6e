import type { KvmEventName } from "../schema/kvm-event-fields.js";
import { asyncFaultText } from "./events/async-fault-text.js";
import { entryExitText } from "./events/entry-exit-text.js";
import { notifierText } from "./events/notifier-text.js";
import { vmText } from "./events/vm-text.js";

const KVM_NAMES: ReadonlySet<string> = new Set([
  "kvm_page_fault",
  ...Object.keys({ ...notifierText, ...entryExitText, ...asyncFaultText, ...vmText }),
]);

/** The trace system of an event: the directory below `events` in which the kernel has it. */
export function eventSystem(name: KvmEventName): "kvm" | "kvmmmu" {
  return KVM_NAMES.has(name) ? "kvm" : "kvmmmu";
}
