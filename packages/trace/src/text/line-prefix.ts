import type { TextCache } from "./text-cache.js";

const BLANK = 0x20;
const SLASH = 0x2f;
const COLON = 0x3a;
const DASH = 0x2d;
const DOT = 0x2e;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_PARENTHESIS = 0x28;
const CLOSE_PARENTHESIS = 0x29;

/** The kernel, trace-cmd and perf give the name of the task this many columns, counted in bytes. */
const COMM_COLUMNS = 16;

const POWERS_OF_TEN: readonly number[] = Array.from({ length: 10 }, (_, power) => 10 ** power);

/** Without brackets: task, processor, and in front of a time the flags, which are read like those of the other forms. */
const SHORT_PREFIX = /^ *(.{1,8}?)-(\d+) +(\d{1,4})(?=[.a-zA-Z][.0-9a-zA-Z]{3,5} +\d+\.\d{6,9}: )/;
const LONGEST_SHORT_PREFIX = 96;

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

/** 1 for letters, digits and `_`: what a name of an event is made of. */
const NAME_BYTES = Uint8Array.from({ length: 256 }, (_, byte) =>
  /\w/.test(String.fromCharCode(byte)) ? 1 : 0,
);

function isNameByte(byte: number | undefined): boolean {
  return byte !== undefined && NAME_BYTES[byte] === 1;
}

/**
 * What stands in front of an event: task, processor, flags, time, and where the name of the event is. One object reads line after line.
 *
 * All three forms are read by one way, chosen by nothing: the processor in brackets is found first, then the task backwards from it and
 * the time forwards.
 *
 * | form      | text                                                                        |
 * | --------- | --------------------------------------------------------------------------- |
 * | trace     | `            comm-pid     (tgid) [cpu] flags   sec.fraction: event: payload` |
 * | trace-cmd | `            comm-pid   [cpu]  sec.fraction: event:      payload`            |
 * | perf      | `            comm pid/tid [cpu]   sec.fraction: period system:event: payload` |
 *
 * The tgid is left out; of `pid/tid` the tid is taken, which the kernel calls pid. With `trace-cmd report -l` there are no brackets: see
 * `#readShort`.
 */
export class LinePrefix {
  comm = "";
  pid = 0;
  cpu = 0;
  flags = "";
  timestampNs = 0;
  nameStart = 0;
  nameEnd = 0;
  /** Where the payload begins; the blanks by which trace-cmd pads names are still in front of it. */
  payloadStart = 0;
  /** What was expected, if `read` gave false. */
  expected = "";

  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  #position = 0;

  constructor(readonly texts: TextCache) {}

  /** Reads the line from `start` up to, not including, `end`; false if it is none of the forms. */
  read(bytes: Buffer, start: number, end: number): boolean {
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    this.expected = "";
    return this.#readContext() && this.#readName();
  }

  /** The first of several failures is the one that is told. */
  #fails(expected: string): false {
    if (this.expected === "") this.expected = expected;
    return false;
  }

  /** Goes on from `position` over decimal digits, and gives their value. */
  #digits(): number {
    let value = 0;
    let position = this.#position;
    for (; position < this.#end; position++) {
      const digit = this.#bytes[position]! - 0x30;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    this.#position = position;
    return value;
  }

  #skipBlanks(): void {
    while (this.#position < this.#end && this.#bytes[this.#position] === BLANK) this.#position++;
  }

  /** Task, processor, flags and time. Names of tasks may hold brackets, so those behind the columns of the name are tried first. */
  #readContext(): boolean {
    const usual = this.#start + COMM_COLUMNS;
    for (let position = usual; position < this.#end; position++) {
      if (this.#bytes[position] === OPEN_BRACKET && this.#readContextAt(position)) return true;
    }
    for (let position = this.#start; position < Math.min(usual, this.#end); position++) {
      if (this.#bytes[position] === OPEN_BRACKET && this.#readContextAt(position)) return true;
    }
    if (this.#readShort() && this.#readFlags() && this.#readTime()) return true;
    return this.#fails("a task and a processor in front of a time");
  }

  #readContextAt(bracket: number): boolean {
    return this.#readTaskAt(bracket) && this.#readFlags() && this.#readTime();
  }

  /** Takes the bracket at `bracket` as that of the processor; false if it is none. */
  #readTaskAt(bracket: number): boolean {
    this.#position = bracket + 1;
    this.cpu = this.#digits();
    if (this.#position - bracket < 4 || this.#bytes[this.#position] !== CLOSE_BRACKET) return false;
    this.#position++;
    return this.#readCommBefore(this.#withoutTgid(bracket));
  }

  /** The end of what stands in front of `end`, without blanks. */
  #withoutBlanks(end: number): number {
    while (end > this.#start && this.#bytes[end - 1] === BLANK) end--;
    return end;
  }

  /** The end of what stands in front of `end`, without `(tgid)`. */
  #withoutTgid(end: number): number {
    const close = this.#withoutBlanks(end) - 1;
    if (this.#bytes[close] !== CLOSE_PARENTHESIS) return end;
    let open = close;
    while (open > this.#start && this.#bytes[open] !== OPEN_PARENTHESIS) open--;
    return open;
  }

  /** Start of the decimal digits that end at `end`. */
  #digitsBefore(end: number): number {
    while (end > this.#start && isDigit(this.#bytes[end - 1])) end--;
    return end;
  }

  /** `comm-pid`, `comm pid` or `comm pid/tid` that ends at `end` or before it. */
  #readCommBefore(end: number): boolean {
    const pidEnd = this.#withoutBlanks(end);
    const pidStart = this.#digitsBefore(pidEnd);
    let commEnd = pidStart - 1;
    if (pidStart === pidEnd || commEnd < this.#start) return false;
    if (this.#bytes[commEnd] === SLASH) commEnd = this.#digitsBefore(commEnd) - 1;
    const separator = this.#bytes[commEnd];
    if (separator !== DASH && separator !== BLANK) return false;
    if (separator === BLANK) commEnd = this.#withoutBlanks(commEnd);
    this.#takeTask(commEnd, pidStart, pidEnd);
    return commEnd > this.#start;
  }

  #takeTask(commEnd: number, pidStart: number, pidEnd: number): void {
    let commStart = this.#start;
    while (commStart < commEnd && this.#bytes[commStart] === BLANK) commStart++;
    this.comm = this.texts.textOf(this.#bytes, commStart, commEnd);
    this.pid = 0;
    for (let digit = pidStart; digit < pidEnd; digit++) this.pid = this.pid * 10 + this.#bytes[digit]! - 0x30;
  }

  /** `trace-cmd report -l`: `%8.8s-%-5d %3d` with the flags directly behind the processor. */
  #readShort(): boolean {
    const start = this.#start;
    const head = this.#bytes.toString("latin1", start, Math.min(this.#end, start + LONGEST_SHORT_PREFIX));
    const match = SHORT_PREFIX.exec(head);
    if (match === null) return false;
    this.comm = match[1]!;
    this.pid = Number(match[2]);
    this.cpu = Number(match[3]);
    this.#position = start + match[0].length;
    return true;
  }

  /** The word of flags, if there is one: unlike a time it does not begin with a digit. */
  #readFlags(): boolean {
    this.#skipBlanks();
    const from = this.#position;
    this.flags = "";
    if (isDigit(this.#bytes[from])) return true;
    while (this.#position < this.#end && this.#bytes[this.#position] !== BLANK) this.#position++;
    const length = this.#position - from;
    if (length < 4 || length > 6) return this.#fails("4 to 6 flags or a time");
    this.flags = this.texts.textOf(this.#bytes, from, this.#position);
    this.#skipBlanks();
    return true;
  }

  /** Seconds and 6 to 9 digits of their fraction, or the plain number of a clock that does not count nanoseconds. */
  #readTime(): boolean {
    const from = this.#position;
    const whole = this.#digits();
    if (this.#position === from) return this.#fails("a time");
    this.timestampNs = whole;
    if (this.#bytes[this.#position] === DOT) {
      const dot = this.#position++;
      const fraction = this.#digits();
      const digits = this.#position - dot - 1;
      if (digits < 6 || digits > 9) return this.#fails("6 to 9 digits behind the seconds");
      // One rounding at most, in the last step.
      this.timestampNs = (whole * POWERS_OF_TEN[digits]! + fraction) * POWERS_OF_TEN[9 - digits]!;
    }
    if (this.#bytes[this.#position] !== COLON) return this.#fails("a colon behind the time");
    this.#position++;
    return true;
  }

  /** The name, without perf's period and system in front of it. */
  #readName(): boolean {
    this.#skipBlanks();
    this.#skipPeriod();
    this.nameStart = this.#position;
    this.#skipNameBytes();
    if (this.#bytes[this.#position] === COLON && isNameByte(this.#bytes[this.#position + 1])) {
      this.nameStart = ++this.#position;
      this.#skipNameBytes();
    }
    this.nameEnd = this.#position;
    if (this.nameEnd === this.nameStart || this.nameEnd >= this.#end || this.#bytes[this.nameEnd] !== COLON) {
      return this.#fails("a name of an event and a colon");
    }
    const blank = this.#bytes[this.nameEnd + 1] === BLANK ? 1 : 0;
    this.payloadStart = Math.min(this.nameEnd + 1 + blank, this.#end);
    return true;
  }

  #skipNameBytes(): void {
    const bytes = this.#bytes;
    const end = this.#end;
    let position = this.#position;
    while (position < end && NAME_BYTES[bytes[position]!] === 1) position++;
    this.#position = position;
  }

  /** perf's period: digits with a blank behind them. */
  #skipPeriod(): void {
    const from = this.#position;
    while (this.#position < this.#end && isDigit(this.#bytes[this.#position])) this.#position++;
    if (this.#bytes[this.#position] === BLANK) this.#skipBlanks();
    else this.#position = from;
  }
}
