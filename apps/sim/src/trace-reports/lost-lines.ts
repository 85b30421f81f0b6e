const NEWLINE = 0x0a;
/** What lines about lost events begin with, in the texts of the kernel and of trace-cmd. */
const MARKER = "CPU:";
const LOST = /^CPU:\d+ \[.*(?:LOST|DROPPED).*\]$/;
/** A line of more bytes is no marker; the reader of records counts it as damage. */
const LONGEST_LINE = 65_536;

/** Finds the lines of a text that say that events were lost. */
export class LostLines {
  #line = 1;
  /** The unfinished last line, as far as it can be a marker. */
  #rest = "";
  /** The unfinished last line is no marker, whatever follows. */
  #passingOver = false;
  readonly #found: number[] = [];

  /** Takes the next bytes of the text. */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      if (this.#isMarker(bytes, start, end)) this.#found.push(this.#line);
      this.#rest = "";
      this.#passingOver = false;
      start = end + 1;
      this.#line++;
    }
    this.#keep(bytes, start);
  }

  /** Takes out the lines up to number `line`; how many there were. */
  takeThrough(line: number): number {
    let taken = 0;
    while (taken < this.#found.length && this.#found[taken]! <= line) taken++;
    if (taken > 0) this.#found.splice(0, taken);
    return taken;
  }

  /** Whether the line that ends at `end` tells of lost events. */
  #isMarker(bytes: Buffer, start: number, end: number): boolean {
    if (this.#passingOver || this.#rest.length + end - start > LONGEST_LINE) return false;
    const whole = this.#rest !== "" || bytes.toString("latin1", start, start + MARKER.length) === MARKER;
    return whole && LOST.test(this.#rest + bytes.toString("latin1", start, end));
  }

  /** Keeps the unfinished line from `start`, if it can be a marker. */
  #keep(bytes: Buffer, start: number): void {
    if (this.#passingOver) return;
    if (this.#rest.length + bytes.length - start > LONGEST_LINE) {
      this.#rest = "";
      this.#passingOver = true;
    } else {
      this.#rest += bytes.toString("latin1", start);
    }
  }
}
