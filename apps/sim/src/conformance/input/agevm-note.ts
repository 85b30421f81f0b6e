/** A note of the recorded VMM, `agevm: …`, with its `name=value` pairs. */
export interface AgevmNote {
  /** Words before the first pair, e.g. `guest_w begin`, `spte`, `madvise dontneed end`. */
  readonly what: string;
  readonly values: ReadonlyMap<string, string>;
  /** Words without `=` behind the first pair, e.g. the value of `dirty_bitmap word=0 00ff`. */
  readonly rest: readonly string[];
}

const PREFIX = "agevm: ";

/** The note in a `trace_marker` text, null if somebody else wrote it. */
export function parseAgevmNote(text: string): AgevmNote | null {
  if (!text.startsWith(PREFIX)) return null;
  const words = text.slice(PREFIX.length).trimEnd().split(" ");
  const firstPair = words.findIndex((word) => word.includes("="));
  const end = firstPair < 0 ? words.length : firstPair;
  const pairs = words.slice(end);
  return {
    what: words.slice(0, end).join(" "),
    values: new Map(pairs.filter((word) => word.includes("=")).map((word) => splitPair(word))),
    rest: pairs.filter((word) => !word.includes("=")),
  };
}

function splitPair(word: string): [string, string] {
  const at = word.indexOf("=");
  return [word.slice(0, at), word.slice(at + 1)];
}

/** Thrown when a note lacks a value or has one that is no number. */
export class AgevmNoteError extends Error {
  override readonly name = "AgevmNoteError";

  constructor(note: AgevmNote, name: string, base: 10 | 16) {
    const value = note.values.get(name);
    const found = value === undefined ? "is missing" : `is ${JSON.stringify(value)}`;
    super(`note "${note.what}": ${name} ${found}, expected a number in base ${base}`);
  }
}

/** A decimal value. @throws AgevmNoteError */
export function decimal(note: AgevmNote, name: string): number {
  const value = note.values.get(name);
  if (value === undefined || !/^-?\d+$/.test(value)) throw new AgevmNoteError(note, name, 10);
  return Number(value);
}

/** A hexadecimal value of at most 52 bits. @throws AgevmNoteError */
export function hexadecimal(note: AgevmNote, name: string): number {
  const value = note.values.get(name);
  if (value === undefined || !/^[0-9a-f]{1,13}$/.test(value)) throw new AgevmNoteError(note, name, 16);
  return Number.parseInt(value, 16);
}
