import type { ModelSlot } from "../model/model-config.js";
import type { AgevmStart } from "./agevm-start.js";

/** Slot of the guest's code and page tables: 2 MiB from 0. */
const CODE_PAGES = 512;
/** Where the owner has it, which no note says. */
export const AGEVM_CODE_HVA = 0x100000000000;
/** Slot of the test memory. */
export const AGEVM_TEST_SLOT = 1;

/** The slots of the recorded VMM. */
export function agevmSlots(start: AgevmStart): ModelSlot[] {
  return [
    { slot: 0, gfn: 0, hva: AGEVM_CODE_HVA, pages: CODE_PAGES },
    { slot: AGEVM_TEST_SLOT, gfn: start.gfnBase, hva: start.hva, pages: start.pages },
  ];
}
