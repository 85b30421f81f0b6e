import { KVM_PFN_NOSLOT } from "../schema/kvm-pfn-noslot.js";
import { HEX_VALUES, joinHalves } from "./hex-digits.js";
import type { TextEvidence } from "./text-evidence.js";

const ZERO = 0x30;
const MINUS = 0x2d;
const PFN_NOSLOT_TEXT = KVM_PFN_NOSLOT.toString(16);

/**
 * Reads the payload of one event from its bytes, from left to right. A mismatch is remembered and makes all that follows give zeros, so
 * that a payload is read as one expression and asked once, at its end, whether it was right. Errors are no exceptions here: a file may
 * hold millions of lines that do not match.
 */
export class PayloadScanner {
  bytes: Buffer = Buffer.alloc(0);
  position = 0;
  end = 0;
  /** What was expected where the payload first differed, or null. */
  expected: string | null = null;

  constructor(readonly evidence: TextEvidence) {}

  /** Starts with the bytes from `start` up to, not including, `end`. */
  start(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes;
    this.position = start;
    this.end = end;
    this.expected = null;
  }

  /** Remembers the first mismatch; its position stays. */
  fail(expected: string): void {
    if (this.expected !== null) return;
    this.expected = expected;
    this.end = this.position;
  }

  /** Whether `text` stands here. */
  sees(text: string): boolean {
    const { bytes, position } = this;
    if (position + text.length > this.end) return false;
    for (let index = 0; index < text.length; index++) {
      if (bytes[position + index] !== text.charCodeAt(index)) return false;
    }
    return true;
  }

  /** Goes past `text` if it stands here. */
  skips(text: string): boolean {
    if (!this.sees(text)) return false;
    this.position += text.length;
    return true;
  }

  literal(text: string): void {
    if (!this.skips(text)) this.fail(JSON.stringify(text));
  }

  /** The bytes up to the next blank, or to the end. */
  word(): string {
    const from = this.position;
    while (this.position < this.end && this.bytes[this.position] !== 0x20) this.position++;
    return this.textFrom(from);
  }

  /** The bytes from `from` to here, taken as Latin-1. */
  textFrom(from: number): string {
    return this.bytes.toString("latin1", from, this.position);
  }

  /** A hexadecimal number without prefix, at most 2^53 - 1. */
  hex(): number {
    const { bytes, end } = this;
    const from = this.position;
    let value = 0;
    let position = from;
    for (; position < end; position++) {
      const digit = HEX_VALUES[bytes[position]!]!;
      if (digit === 255) break;
      value = value * 16 + digit;
    }
    if (position === from) this.fail("a hexadecimal number");
    else if (value > Number.MAX_SAFE_INTEGER) this.fail("a hexadecimal number of at most 2^53 - 1");
    else this.position = position;
    return value;
  }

  /** A hexadecimal number of 64 bits without prefix. */
  hex64(): bigint {
    const { bytes, end } = this;
    const from = this.position;
    let low = 0;
    let high = 0;
    let position = from;
    for (; position < end; position++) {
      const digit = HEX_VALUES[bytes[position]!]!;
      if (digit === 255) break;
      high = (high << 4) | (low >>> 28);
      low = (low << 4) | digit;
    }
    const digits = position - from;
    if (digits === 0) this.fail("a hexadecimal number");
    else if (digits > 16) this.fail("at most 16 hexadecimal digits");
    else this.position = position;
    return joinHalves(high, low);
  }

  /** A decimal number, at most 2^53 - 1. */
  decimal(): number {
    const { bytes, end } = this;
    const from = this.position;
    let value = 0;
    let position = from;
    for (; position < end; position++) {
      const digit = bytes[position]! - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    if (position === from) this.fail("a decimal number");
    else if (value > Number.MAX_SAFE_INTEGER) this.fail("a decimal number of at most 2^53 - 1");
    else this.position = position;
    return value;
  }

  /** A decimal number that may be negative. */
  signedDecimal(): number {
    if (this.bytes[this.position] !== MINUS || this.position >= this.end) return this.decimal();
    this.position++;
    return -this.decimal() || 0;
  }

  /** `0` or `1`. */
  bit(): boolean {
    if (this.skips("1")) return true;
    this.literal("0");
    return false;
  }

  /** `%#lx` of a number: with `0x`, or plain zeros as trace-cmd prints them. */
  prefixedHex(): number {
    this.skips("0x");
    return this.hex();
  }

  /** `%#llx`: with `0x`, or a plain 0 as trace-cmd prints it. */
  prefixedHex64(): bigint {
    this.skips("0x");
    return this.hex64();
  }

  prefixedHexAfter(label: string): number {
    this.literal(label);
    return this.prefixedHex();
  }

  hexAfter(label: string): number {
    this.literal(label);
    return this.hex();
  }

  /** A pfn after `label`: at most 2^53 - 1, or 2^63, by which KVM says that no slot has the page. */
  pfnAfter(label: string): number {
    this.literal(label);
    return this.skips(PFN_NOSLOT_TEXT) ? KVM_PFN_NOSLOT : this.hex();
  }

  hex64After(label: string): bigint {
    this.literal(label);
    return this.hex64();
  }

  decimalAfter(label: string): number {
    this.literal(label);
    return this.decimal();
  }

  bitAfter(label: string): boolean {
    this.literal(label);
    return this.bit();
  }

  /** A pointer after `label`: hashed or raw digits, with or without `0x`; 0 where the kernel or trace-cmd prints a word in brackets. */
  pointerAfter(label: string): bigint {
    this.literal(label);
    if (this.skips("(____ptrval____)") || this.skips("(null)") || this.skips("(nil)")) return 0n;
    return this.prefixedHex64();
  }

  /** Whether everything matched and nothing is left. */
  finish(): boolean {
    if (this.position !== this.end) this.fail("the end of the line");
    return this.expected === null;
  }
}
