/** Value of a hexadecimal digit by its byte; 255 for any other byte. The kernel prints lower-case digits only. */
export const HEX_VALUES: Uint8Array = new Uint8Array(256).fill(255);
for (let digit = 0; digit < 16; digit++) HEX_VALUES[digit.toString(16).charCodeAt(0)] = digit;

const halves = new DataView(new ArrayBuffer(8));

/** The 64-bit number of two halves of 32 bits. Several times faster than to make a bigint of digits, or of two bigints. */
export function joinHalves(high: number, low: number): bigint {
  halves.setInt32(0, low, true);
  halves.setInt32(4, high, true);
  return halves.getBigUint64(0, true);
}
