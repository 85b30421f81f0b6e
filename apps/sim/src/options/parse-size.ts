import { InvalidSizeError, SizeRangeError } from "./errors.js";

const SIZE = /^(0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*)([bkmgt]?)$/i;
const SHIFT: Readonly<Record<string, bigint>> = { "": 0n, b: 0n, k: 10n, m: 20n, g: 30n, t: 40n };

/** The number in front of the suffix; a leading 0 makes it octal, as in C. */
function parseNumber(digits: string): bigint {
  const octal = /^0[0-7]+$/.test(digits);
  return BigInt(octal ? `0o${digits.slice(1)}` : digits);
}

/**
 * Reads a size as the selftests' `parse_size` does: a decimal, hexadecimal (`0x`) or octal (`0`) number and
 * one of b, k, m, g, t in either case, or nothing. A final b of a hexadecimal number is a digit.
 * @returns bytes, 0 to 2^53 - 1
 * @throws InvalidSizeError when the text has another form
 * @throws SizeRangeError when the size is larger than 2^53 - 1 bytes
 */
export function parseSize(text: string): number {
  const match = SIZE.exec(text);
  if (match === null) throw new InvalidSizeError(text);
  const bytes = parseNumber(match[1]!) << SHIFT[match[2]!.toLowerCase()]!;
  if (bytes > Number.MAX_SAFE_INTEGER) throw new SizeRangeError(text);
  return Number(bytes);
}
