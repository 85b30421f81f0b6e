/** Writes a mask as bit ranges from the top, e.g. `51:12`, `11`, `62:52,10:3`; `-` for 0. In [0, 2^64). */
export function formatBits(mask: bigint): string {
  const ranges: string[] = [];
  let high = -1;
  for (let bit = 63; bit >= -1; bit--) {
    const set = bit >= 0 && ((mask >> BigInt(bit)) & 1n) === 1n;
    if (set && high < 0) high = bit;
    if (!set && high >= 0) {
      ranges.push(high === bit + 1 ? `${high}` : `${high}:${bit + 1}`);
      high = -1;
    }
  }
  return ranges.length === 0 ? "-" : ranges.join(",");
}
