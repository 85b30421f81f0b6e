const NEWLINE = 0x0a;
/** What lines about lost events begin with, in the texts of the kernel and of trace-cmd. */
const MARKER = "CPU:";
const LOST = /^CPU:\d+ \[.*(?:LOST|DROPPED).*\]$/;

/** Finds the lines of a text that say that events were lost. */
export class LostLines {
  #line = 1;
  /** The unfinished last line, as far as it can be a marker. */
  #rest = "";
  readonly #found: number[] = [];

  /** Takes the next bytes of the text. */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      this.#look(bytes, start, end);
      start = end + 1;
      this.#line++;
    }
    this.#rest += bytes.toString("latin1", start);
  }

  /** Takes out the lines up to number `line`; how many there were. */
  takeThrough(line: number): number {
    let taken = 0;
    while (taken < this.#found.length && this.#found[taken]! <= line) taken++;
    this.#found.splice(0, taken);
    return taken;
  }

  #look(bytes: Buffer, start: number, end: number): void {
    const whole = this.#rest !== "" || bytes.toString("latin1", start, start + MARKER.length) === MARKER;
    if (whole && LOST.test(this.#rest + bytes.toString("latin1", start, end))) this.#found.push(this.#line);
    this.#rest = "";
  }
}
