import type { TraceRecord } from "../schema/trace-record.js";
import type { LineReader } from "./line-reader.js";

const NEWLINE = 0x0a;

/** A line that is longer is damage: the kernel's own limit for one is below 8 KiB. */
const LONGEST_LINE = 65_536;

/** Cuts chunks of bytes into lines, and keeps no more than an unfinished line between two chunks. */
export class LineSplitter {
  #rest: Buffer = Buffer.alloc(0);
  /** The beginning of the current line was too long and has been counted; the rest of it is passed over. */
  #passingOver = false;

  constructor(readonly reader: LineReader) {}

  /** The records of the lines that `chunk` finishes. */
  take(chunk: Uint8Array): TraceRecord[] {
    const view = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const bytes = this.#rest.length === 0 ? view : Buffer.concat([this.#rest, view]);
    const records: TraceRecord[] = [];
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      this.#takeLine(bytes, start, end, records);
      start = end + 1;
    }
    this.#keep(bytes, start);
    return records;
  }

  /** The record of a last line without a newline. */
  finish(): TraceRecord[] {
    const records: TraceRecord[] = [];
    const rest = this.#rest;
    if (rest.length > 0) this.#takeLine(rest, 0, rest.length, records);
    this.#rest = Buffer.alloc(0);
    return records;
  }

  #takeLine(bytes: Buffer, start: number, end: number, records: TraceRecord[]): void {
    if (this.#passingOver) {
      this.#passingOver = false;
    } else if (end - start > LONGEST_LINE) {
      this.reader.tooLong(bytes.subarray(start, end), LONGEST_LINE);
    } else {
      const record = this.reader.read(bytes, start, end);
      if (record !== null) records.push(record);
    }
  }

  /** Keeps the unfinished line from `start`, in memory of its own, as the owner of a chunk may use it again. */
  #keep(bytes: Buffer, start: number): void {
    const rest = bytes.subarray(start);
    if (!this.#passingOver && rest.length > LONGEST_LINE) {
      this.#passingOver = true;
      this.reader.tooLong(rest, LONGEST_LINE);
    }
    this.#rest = this.#passingOver ? Buffer.alloc(0) : Buffer.from(rest);
  }
}
