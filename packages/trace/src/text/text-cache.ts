const SLOTS = 1024;

/**
 * Strings of byte ranges that come again and again: names of tasks, flags, places of probes. The same bytes give the same string without
 * decoding them anew, and no string holds on to the chunk that it came from. Takes the same memory however long the text is: each slot keeps
 * the last string that fell into it.
 */
export class TextCache {
  readonly #bytes: Buffer[] = new Array(SLOTS).fill(Buffer.alloc(0));
  readonly #texts: string[] = new Array(SLOTS).fill("");

  /** The bytes from `start` up to, not including, `end` as UTF-8; what is no UTF-8 becomes U+FFFD. */
  textOf(bytes: Buffer, start: number, end: number): string {
    // At most 16 bytes or so tell where to look; all are compared there.
    const step = 1 + ((end - start) >> 4);
    let hash = end - start;
    for (let index = start; index < end; index += step) hash = (Math.imul(hash, 31) + bytes[index]!) | 0;
    const slot = (hash ^ (hash >>> 12)) & (SLOTS - 1);
    if (!sameBytes(this.#bytes[slot]!, bytes, start, end)) {
      this.#bytes[slot] = Buffer.from(bytes.subarray(start, end));
      this.#texts[slot] = bytes.toString("utf8", start, end);
    }
    return this.#texts[slot]!;
  }
}

function sameBytes(known: Buffer, bytes: Buffer, start: number, end: number): boolean {
  const length = end - start;
  if (known.length !== length) return false;
  for (let index = 0; index < length; index++) if (known[index] !== bytes[start + index]) return false;
  return true;
}
