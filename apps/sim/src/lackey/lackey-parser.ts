import type { AccessBatch } from "./access-batch.js";
import { type AccessKind, LOAD, MODIFY, STORE } from "./access-kind.js";
import { MalformedTraceLineError } from "./errors.js";

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const COMMA = 0x2c;
const EQUALS = 0x3d;
const LETTER_I = 0x49;

/** Longest line that is waited for; lackey's own are shorter than 40 bytes, a banner repeats a command line. */
const MAX_LINE_BYTES = 1 << 16;
/** Hexadecimal digits of a 64-bit address. */
const MAX_ADDRESS_DIGITS = 16;
/** Accesses per full batch. */
const BATCH_ACCESSES = 1 << 16;

/** Value of each byte as a hexadecimal digit, -1 for others. */
const HEX_VALUE = Int8Array.from({ length: 256 }, (_, byte) => {
  const text = String.fromCharCode(byte);
  return /[0-9a-f]/i.test(text) ? Number.parseInt(text, 16) : -1;
});

/** Access kind of each byte as a letter, -1 for others. */
const KIND_OF_LETTER = new Int8Array(256).fill(-1);
for (const [letter, kind] of [
  ["L", LOAD],
  ["S", STORE],
  ["M", MODIFY],
] as const) {
  KIND_OF_LETTER[letter.charCodeAt(0)] = kind;
}

/** Index of the first byte from `index` that is not a decimal digit. */
function skipDecimal(bytes: Uint8Array, index: number): number {
  let next = index;
  while (bytes[next]! >= 0x30 && bytes[next]! <= 0x39) next++;
  return next;
}

/** Parses lackey's text from chunks that may be cut anywhere. */
export class LackeyParser {
  /** Lines read so far, of every kind. */
  lines = 0;
  private remainder: Uint8Array = new Uint8Array(0);
  private pages = new Float64Array(BATCH_ACCESSES);
  private kinds = new Uint8Array(BATCH_ACCESSES);
  private length = 0;
  private instructionLines = 0;
  private bannerLines = 0;

  /** @param path for messages */
  constructor(private readonly path: string) {}

  /**
   * Parses one chunk and returns the batches that it filled.
   * @throws MalformedTraceLineError at a line that lackey does not write
   */
  push(chunk: Uint8Array): AccessBatch[] {
    const full: AccessBatch[] = [];
    let start = 0;
    if (this.remainder.length > 0) {
      start = chunk.indexOf(NEWLINE) + 1;
      const joined = Buffer.concat([this.remainder, start === 0 ? chunk : chunk.subarray(0, start)]);
      if (start === 0) return this.keep(joined, full);
      this.parseLines(joined, 0, full);
    }
    const end = this.parseLines(chunk, start, full);
    return this.keep(chunk.slice(end), full);
  }

  /**
   * Parses a last line without a newline and returns what is left, possibly a batch without accesses.
   * @throws MalformedTraceLineError when that line is incomplete
   */
  finish(): AccessBatch[] {
    const full: AccessBatch[] = [];
    if (this.remainder.length > 0)
      this.parseLines(Buffer.concat([this.remainder, Buffer.of(NEWLINE)]), 0, full);
    return [...full, this.takeBatch()];
  }

  private keep(remainder: Uint8Array, full: AccessBatch[]): AccessBatch[] {
    if (remainder.length > MAX_LINE_BYTES) this.malformed(remainder, 0, remainder.length);
    this.remainder = remainder;
    return full;
  }

  /** Parses all complete lines from `start` and returns where the rest begins. */
  private parseLines(bytes: Uint8Array, start: number, full: AccessBatch[]): number {
    let lineStart = start;
    while (true) {
      const lineEnd = this.parseAccess(bytes, lineStart);
      const end = lineEnd === -1 ? bytes.indexOf(NEWLINE, lineStart) : lineEnd;
      if (end === -1) return lineStart;
      if (lineEnd === -1) this.parseOther(bytes, lineStart, end);
      this.lines++;
      lineStart = end + 1;
      if (this.length === BATCH_ACCESSES) full.push(this.takeBatch());
    }
  }

  /**
   * Parses ` L address,size` at `start`. The page is the address without its last three digits, which
   * therefore trail behind in `a`, `b` and `c`.
   * @returns index of the newline, -1 when the line is another one or is cut off
   */
  private parseAccess(bytes: Uint8Array, start: number): number {
    const kind = KIND_OF_LETTER[bytes[start + 1]!]!;
    if (bytes[start] !== SPACE || !(kind >= 0) || bytes[start + 2] !== SPACE) return -1;
    let [page, a, b, c] = [0, 0, 0, 0];
    let index = start + 3;
    for (let digit = HEX_VALUE[bytes[index]!]!; digit >= 0; digit = HEX_VALUE[bytes[++index]!]!) {
      page = page * 16 + a;
      a = b;
      b = c;
      c = digit;
    }
    const digits = index - start - 3;
    if (digits === 0 || digits > MAX_ADDRESS_DIGITS || bytes[index] !== COMMA) return -1;
    const afterSize = skipDecimal(bytes, index + 1);
    const end = bytes[afterSize] === CARRIAGE_RETURN ? afterSize + 1 : afterSize;
    if (afterSize === index + 1 || bytes[end] !== NEWLINE) return -1;
    this.append(page, kind as AccessKind);
    return end;
  }

  private append(page: number, kind: AccessKind): void {
    this.pages[this.length] = page;
    this.kinds[this.length] = kind;
    this.length++;
  }

  /** Counts a line that is no access, or refuses it. */
  private parseOther(bytes: Uint8Array, start: number, end: number): void {
    if (bytes[start] === LETTER_I && bytes[start + 1] === SPACE) this.instructionLines++;
    else if (bytes[start] === EQUALS && bytes[start + 1] === EQUALS) this.bannerLines++;
    else this.malformed(bytes, start, end);
  }

  private takeBatch(): AccessBatch {
    const { length, instructionLines, bannerLines } = this;
    const batch: AccessBatch = {
      pages: this.pages.subarray(0, length),
      kinds: this.kinds.subarray(0, length),
      instructionLines,
      bannerLines,
    };
    this.pages = new Float64Array(BATCH_ACCESSES);
    this.kinds = new Uint8Array(BATCH_ACCESSES);
    this.length = 0;
    this.instructionLines = 0;
    this.bannerLines = 0;
    return batch;
  }

  private malformed(bytes: Uint8Array, start: number, end: number): never {
    const text = Buffer.from(bytes.subarray(start, Math.min(end, start + 80))).toString("latin1");
    throw new MalformedTraceLineError(this.path, this.lines + 1, text);
  }
}
