/** A number in hexadecimal with `0x`. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
