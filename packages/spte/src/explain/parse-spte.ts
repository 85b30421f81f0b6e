import type { Spte } from "../address/spte.js";
import { InvalidSpteTextError } from "../errors.js";

const HEX_WITH_SEPARATORS = /^(?:0x)?([0-9a-f]+(?:_[0-9a-f]+)*)$/i;

/**
 * Reads an entry written as hexadecimal, the form of traces and crash dumps: 1 to 16 digits, with or without
 * `0x`, single underscores between digits allowed, surrounding white space ignored.
 * @throws InvalidSpteTextError for any other text
 */
export function parseSpte(text: string): Spte {
  const digits = HEX_WITH_SEPARATORS.exec(text.trim())?.[1]?.replaceAll("_", "");
  if (digits === undefined || digits.length > 16) throw new InvalidSpteTextError(text);
  return BigInt(`0x${digits}`) as Spte;
}
