const NEWLINE = 0x0a;
/** Lines that have been taken out are dropped at least so many at a time. */
const BLOCK_LINES = 4096;

/** Lines of text that have been read and wait to be written, by number. */
export class LineQueue {
  /** The unfinished last line, in the pieces it came in: put together once, when it ends. */
  #rest: Uint8Array[] = [];
  #lines: string[] = [];
  /** How many of `#lines` have been taken out already. */
  #taken = 0;
  /** Number of the first line that waits. */
  #first = 1;

  /** Takes the next bytes of the text; the owner of `chunk` may use it again. */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      this.#lines.push(this.#finish(bytes, start, end));
      start = end + 1;
    }
    if (start < bytes.length) this.#rest.push(Buffer.from(bytes.subarray(start)));
  }

  /** Takes out all lines up to, and including, number `last`. */
  takeThrough(last: number): readonly string[] {
    const wanted = Math.max(0, last - this.#first + 1);
    const lines = this.#lines.slice(this.#taken, this.#taken + wanted);
    this.#taken += lines.length;
    this.#first += lines.length;
    this.#dropTaken();
    return lines;
  }

  /** Takes out the rest, an unfinished last line included. */
  takeAll(): readonly string[] {
    const lines = this.#lines.slice(this.#taken);
    this.#first += lines.length;
    this.#lines = [];
    this.#taken = 0;
    if (this.#rest.length > 0) lines.push(this.#finish(Buffer.alloc(0), 0, 0));
    return lines;
  }

  #finish(bytes: Buffer, start: number, end: number): string {
    if (this.#rest.length === 0) return bytes.toString("utf8", start, end);
    const whole = Buffer.concat([...this.#rest, bytes.subarray(start, end)]);
    this.#rest = [];
    return whole.toString("utf8");
  }

  /** Drops lines that have been taken out, once they are no fewer than those that have to move up. */
  #dropTaken(): void {
    if (this.#taken < BLOCK_LINES || this.#taken * 2 < this.#lines.length) return;
    this.#lines = this.#lines.slice(this.#taken);
    this.#taken = 0;
  }
}
