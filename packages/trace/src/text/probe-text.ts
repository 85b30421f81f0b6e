import type { ProbeRecord } from "../schema/trace-record.js";
import { HEX_VALUES, joinHalves } from "./hex-digits.js";
import type { TextCache } from "./text-cache.js";

/** What a probe prints. */
export interface ProbeFields {
  readonly place: string;
  readonly args: Record<string, bigint>;
  readonly decimalArgs: string[];
}

const BLANK = 0x20;
const EQUALS = 0x3d;
const OPEN_PARENTHESIS = 0x28;
const CLOSE_PARENTHESIS = 0x29;
const ZERO = 0x30;
const X = 0x78;

const DECIMAL = /^-?\d{1,20}$/;

/** Position of `byte` in the range; the end if it is not there. */
function find(bytes: Buffer, byte: number, start: number, end: number): number {
  while (start < end && bytes[start] !== byte) start++;
  return start;
}

/** The value of 1 to 16 hexadecimal digits, or null. */
function readHex(bytes: Buffer, start: number, end: number): bigint | null {
  if (start === end || end - start > 16) return null;
  let high = 0;
  let low = 0;
  for (let position = start; position < end; position++) {
    const digit = HEX_VALUES[bytes[position]!]!;
    if (digit === 255) return null;
    high = (high << 4) | (low >>> 28);
    low = (low << 4) | digit;
  }
  return joinHalves(high, low);
}

/** The value of a decimal number, which may be negative, or null. */
function readDecimal(bytes: Buffer, start: number, end: number): bigint | null {
  const digit = bytes[start]! - ZERO;
  if (end - start === 1) return digit >= 0 && digit <= 9 ? BigInt(digit) : null;
  const text = bytes.toString("latin1", start, end);
  return DECIMAL.test(text) ? BigInt(text) : null;
}

/** Puts the argument `name=value` of the range in `probe`, unless its value is no integer. False if it is no argument. */
function takeArgument(
  probe: ProbeFields,
  bytes: Buffer,
  start: number,
  end: number,
  texts: TextCache,
): boolean {
  const equals = find(bytes, EQUALS, start, end);
  if (equals === end) return false;
  const name = texts.textOf(bytes, start, equals);
  const from = equals + 1;
  const prefixed = bytes[from] === ZERO && bytes[from + 1] === X;
  const value = prefixed ? readHex(bytes, from + 2, end) : readDecimal(bytes, from, end);
  if (value === null) return true;
  probe.args[name] = value;
  if (!prefixed) probe.decimalArgs.push(name);
  return true;
}

/**
 * Reads the payload of a kprobe or kretprobe event: the place in parentheses, then `name=value` with blanks between. Null if it is
 * something else.
 */
export function readProbe(bytes: Buffer, start: number, end: number, texts: TextCache): ProbeFields | null {
  if (bytes[start] !== OPEN_PARENTHESIS) return null;
  const close = find(bytes, CLOSE_PARENTHESIS, start, end);
  if (close === end) return null;
  const probe: ProbeFields = { place: texts.textOf(bytes, start + 1, close), args: {}, decimalArgs: [] };
  for (let position = close + 1; position < end; ) {
    if (bytes[position] !== BLANK) return null;
    const itemEnd = find(bytes, BLANK, position + 1, end);
    if (!takeArgument(probe, bytes, position + 1, itemEnd, texts)) return null;
    position = itemEnd;
  }
  return probe;
}

/** The payload of a probe as the kernel prints it. */
export function probeText({ place, args, decimalArgs }: ProbeRecord): string {
  const items = Object.entries(args).map(([name, value]) =>
    decimalArgs?.includes(name) ? ` ${name}=${value}` : ` ${name}=0x${value.toString(16)}`,
  );
  return `(${place})${items.join("")}`;
}
