import { UsageError } from "../options/errors.js";

/** Thrown when there is no file at the path of a trace. */
export class TraceNotFoundError extends UsageError {
  override readonly name = "TraceNotFoundError";
  constructor(path: string) {
    super(`trace ${path} does not exist`);
  }
}

/** Thrown when the path of a trace is a directory, device or pipe. */
export class TraceNotAFileError extends UsageError {
  override readonly name = "TraceNotAFileError";
  constructor(path: string, what: string) {
    super(`trace ${path} is ${what}; expected a file`);
  }
}

/** Thrown when the operating system refuses to read a trace. */
export class TraceUnreadableError extends UsageError {
  override readonly name = "TraceUnreadableError";
  constructor(path: string, reason: string) {
    super(`trace ${path} cannot be read: ${reason}`);
  }
}

/** Thrown when a file called `.gz` does not start as gzip files do. */
export class NotGzipError extends UsageError {
  override readonly name = "NotGzipError";
  constructor(path: string, head: Uint8Array) {
    const bytes = [...head].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    super(`trace ${path} is not gzip: it starts with bytes ${bytes}; expected 1f 8b`);
  }
}

/** Thrown when compressed data ends before its end mark. */
export class TruncatedGzipError extends UsageError {
  override readonly name = "TruncatedGzipError";
  constructor(path: string, line: number) {
    super(`trace ${path} is truncated: the compressed data ends early, after line ${line}`);
  }
}

/** Thrown when compressed data is damaged. */
export class CorruptGzipError extends UsageError {
  override readonly name = "CorruptGzipError";
  constructor(path: string, line: number, reason: string) {
    super(`trace ${path} is damaged after line ${line}: ${reason}`);
  }
}

/** Thrown when a line of a trace is none that lackey writes. */
export class MalformedTraceLineError extends UsageError {
  override readonly name = "MalformedTraceLineError";
  constructor(path: string, line: number, text: string) {
    const shown = JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text);
    super(`trace ${path}, line ${line}: ${shown} is not a lackey line; expected e.g. " L 1ffeffe7b8,8"`);
  }
}

/** Thrown when a trace contains no access to data. */
export class EmptyTraceError extends UsageError {
  override readonly name = "EmptyTraceError";
  constructor(path: string, lines: number) {
    super(`trace ${path} has no load, store or modify in its ${lines} lines; recorded with --trace-mem=yes?`);
  }
}
