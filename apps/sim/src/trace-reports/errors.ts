import { UsageError } from "../options/errors.js";

/** Thrown when no line of a trace is an event. */
export class NoEventsError extends UsageError {
  override readonly name = "NoEventsError";
  constructor(path: string, lines: number, damaged: string | null) {
    const why = damaged === null ? "" : `; the first that could not be read: ${damaged}`;
    super(`trace ${path} has no events in its ${lines} lines${why}`);
  }
}

/** Thrown when the text of `--slot` is not three numbers. */
export class InvalidSlotError extends UsageError {
  override readonly name = "InvalidSlotError";
  constructor(text: string) {
    super(
      `--slot ${JSON.stringify(text)} is not gfn:hva:pages; expected e.g. 40000:7f0000000000:512, the first two hexadecimal, ` +
        "the address a multiple of 4096",
    );
  }
}

/** Thrown when `--from` is not before `--to`. */
export class EmptyTimeWindowError extends UsageError {
  override readonly name = "EmptyTimeWindowError";
  constructor(from: number, to: number) {
    super(`--from ${from} is not before --to ${to}`);
  }
}

/** Thrown when a drawing cannot be written. */
export class DrawingFileError extends UsageError {
  override readonly name = "DrawingFileError";
  constructor(path: string, reason: string) {
    super(`drawing ${path} cannot be written: ${reason}`);
  }
}
