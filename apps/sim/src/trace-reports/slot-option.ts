import type { GuestMemoryRange } from "@kvm-age/trace";
import { InvalidSlotError } from "./errors.js";

const SLOT = /^(?:0x)?([0-9a-f]{1,13}):(?:0x)?([0-9a-f]{1,13}):(\d{1,13})$/i;
const PAGE_BYTES = 4096;

/**
 * Reads `gfn:hva:pages`, the first two hexadecimal, and adds it to those before.
 * @throws InvalidSlotError for any other text
 */
export function slotOption(text: string, before: readonly GuestMemoryRange[]): readonly GuestMemoryRange[] {
  const match = SLOT.exec(text);
  const [gfn, hva, pages] = [
    Number.parseInt(match?.[1] ?? "", 16),
    Number.parseInt(match?.[2] ?? "", 16),
    Number.parseInt(match?.[3] ?? "", 10),
  ];
  if (match === null || hva % PAGE_BYTES !== 0 || pages === 0) throw new InvalidSlotError(text);
  return [...before, { gfn, hva, pages }];
}
