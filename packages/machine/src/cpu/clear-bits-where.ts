import { type Address, offset } from "./address.js";
import type { ClearMethod, Cpu } from "./cpu.js";

/**
 * The meaning of `Cpu.clearBitsWhere`, one access at a time. A word that changes between the read and the
 * write is either left alone (`cmpxchg`) or has `clear` removed from its new value (`fetch-and`); it counts as
 * matched both ways, because the count answers what was seen, not what was written.
 */
export function clearBitsWhereOneByOne(
  cpu: Cpu,
  address: Address,
  count: number,
  mask: bigint,
  value: bigint,
  clear: bigint,
  method: ClearMethod,
): number {
  let matched = 0;
  for (let index = 0; index < count; index++) {
    const word = offset(address, index * 8);
    const seen = cpu.readOnce(word);
    if (BigInt.asUintN(64, seen & mask) !== value) continue;
    matched++;
    if (method === "cmpxchg") cpu.cmpxchg(word, seen, BigInt.asUintN(64, seen & ~clear), "full");
    else cpu.fetchAnd(word, BigInt.asUintN(64, ~clear), "full");
  }
  return matched;
}
