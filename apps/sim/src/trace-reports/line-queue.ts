const NEWLINE = 0x0a;

/** Lines of text that have been read and wait to be written, by number. */
export class LineQueue {
  #rest: Buffer = Buffer.alloc(0);
  #lines: string[] = [];
  /** Number of the first line that waits. */
  #first = 1;

  /** Takes the next bytes of the text. */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.concat([this.#rest, chunk]);
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      this.#lines.push(bytes.toString("utf8", start, end));
      start = end + 1;
    }
    this.#rest = bytes.subarray(start);
  }

  /** Takes out all lines up to, and including, number `last`. */
  takeThrough(last: number): readonly string[] {
    const taken = this.#lines.splice(0, Math.max(0, last - this.#first + 1));
    this.#first += taken.length;
    return taken;
  }

  /** Takes out the rest, an unfinished last line included. */
  takeAll(): readonly string[] {
    const rest = this.#rest.length === 0 ? [] : [this.#rest.toString("utf8")];
    this.#rest = Buffer.alloc(0);
    return [...this.#lines.splice(0), ...rest];
  }
}
