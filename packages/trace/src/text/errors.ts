/** Thrown when a line is damaged and the reader was told to be strict. */
export class DamagedLineError extends SyntaxError {
  override readonly name = "DamagedLineError";

  constructor(
    /** Line in the text, from 1. */
    readonly line: number,
    /** The line, cut to 200 characters. */
    readonly text: string,
    readonly reason: string,
  ) {
    super(`line ${line}: ${reason}: ${JSON.stringify(text)}`);
  }
}

/** Thrown when a compressed trace ends in the middle. What could be read has been handed out before. */
export class TruncatedTraceError extends Error {
  override readonly name = "TruncatedTraceError";

  constructor(
    /** Bytes of text that were read. */
    readonly bytesRead: number,
    cause: unknown,
  ) {
    super(
      `the compressed trace ends too early or is damaged: ${bytesRead} byte(s) of text could be read; its records are complete up to there`,
      { cause },
    );
  }
}

/** Thrown when a file is a recording that has not been rendered to text yet, or no text at all. */
export class BinaryTraceError extends TypeError {
  override readonly name = "BinaryTraceError";

  constructor(
    /** What the file looks like. */
    readonly looksLike: string,
    /** The command that makes text of it, or null if there is none. */
    readonly command: string | null,
  ) {
    super(
      `this is ${looksLike}, and a trace is text or gzip of text` +
        (command === null ? "" : `; \`${command}\` makes text of it`),
    );
  }
}

/** Thrown when a record has no text in the wanted layout: a field is null that it prints, or outside what it can print. */
export class UnwritableRecordError extends RangeError {
  override readonly name = "UnwritableRecordError";

  constructor(
    readonly event: string,
    readonly field: string,
    readonly value: unknown,
    /** What the field may be. */
    readonly allowed: string,
  ) {
    super(`${event}: ${field} ${String(value)} has no text; it must be ${allowed}`);
  }
}
