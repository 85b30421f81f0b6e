/** A number as the kernel prints addresses. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
