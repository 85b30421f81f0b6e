import type { Spte } from "../address/spte.js";

/** Writes an entry as `0x` and 16 hexadecimal digits. */
export function formatSpte(spte: Spte): string {
  return `0x${spte.toString(16).padStart(16, "0")}`;
}
