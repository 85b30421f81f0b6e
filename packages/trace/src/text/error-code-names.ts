import type { TraceKernel } from "../schema/kernel-layout.js";
import type { PayloadScanner } from "./payload-scanner.js";

/** A bit of a page-fault error code that the kernel prints by name. */
interface NamedBit {
  readonly name: string;
  readonly mask: bigint;
}

const bit = (name: string, index: number): NamedBit => ({ name, mask: 2n ** BigInt(index) });

const BEFORE_73: readonly NamedBit[] = [bit("P", 0), bit("W", 1), bit("U", 2), bit("RSVD", 3), bit("F", 4)];

const SINCE_73: readonly NamedBit[] = [
  ...[bit("P", 0), bit("W", 1), bit("U", 2), bit("PK", 5), bit("SS", 6), bit("SGX", 15)],
  ...[bit("RSVD", 3), bit("F", 4)],
];

const MASK_BY_NAME: ReadonlyMap<string, bigint> = new Map(SINCE_73.map(({ name, mask }) => [name, mask]));

/** Error codes as printed, and their values: a trace has few different ones. Kept short against text that makes new ones up. */
const known = new Map<string, bigint>([["", 0n]]);
const MOST_KNOWN = 1024;

/** The value of `P|W|0x100000000`, or null if an item is neither a name nor a hexadecimal number. */
function parseErrorCode(text: string): bigint | null {
  let value = 0n;
  for (const item of text.split("|")) {
    const mask = MASK_BY_NAME.get(item);
    if (mask !== undefined) value |= mask;
    else if (/^0x[0-9a-f]{1,16}$/.test(item)) value |= BigInt(item);
    else return null;
  }
  return value;
}

/** Reads an error code: names joined with bars, what has no name as one hexadecimal item, nothing at all for 0. */
export function readErrorCode(scanner: PayloadScanner): bigint {
  const from = scanner.position;
  const text = scanner.word();
  const cached = known.get(text);
  if (cached !== undefined) return cached;
  const value = parseErrorCode(text);
  if (value === null) {
    scanner.position = from;
    scanner.fail("names of error-code bits");
    return 0n;
  }
  if (known.size < MOST_KNOWN) known.set(text, value);
  return value;
}

/** An error code in the names of a kernel; bits without a name as one hexadecimal item at the end. */
export function errorCodeText(errorCode: bigint, kernel: TraceKernel): string {
  const names = kernel === "linux-7.3" ? SINCE_73 : BEFORE_73;
  const items: string[] = [];
  let rest = errorCode;
  for (const { name, mask } of names) {
    if ((errorCode & mask) === 0n) continue;
    items.push(name);
    rest -= mask;
  }
  if (rest !== 0n) items.push(`0x${rest.toString(16)}`);
  return items.join("|");
}
