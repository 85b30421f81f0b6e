import type { KvmEventName } from "../../schema/kvm-event-fields.js";
import { asyncFaultText } from "./async-fault-text.js";
import { entryExitText } from "./entry-exit-text.js";
import type { EventTexts } from "./event-text.js";
import { faultText } from "./fault-text.js";
import { mmioText } from "./mmio-text.js";
import { notifierText } from "./notifier-text.js";
import { pagesText } from "./pages-text.js";
import { tdpMmuText } from "./tdp-mmu-text.js";
import { vmText } from "./vm-text.js";
import { walkText } from "./walk-text.js";

/** The text of every event that has a layout here. */
export const KVM_EVENT_TEXTS: EventTexts<KvmEventName> = {
  ...notifierText,
  ...faultText,
  ...tdpMmuText,
  ...pagesText,
  ...mmioText,
  ...walkText,
  ...entryExitText,
  ...asyncFaultText,
  ...vmText,
};
