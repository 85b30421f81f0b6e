import { UsageError } from "../options/errors.js";

/** Thrown when the file that a run is to be recorded in is a directory or in none, or cannot be written. */
export class TraceFileError extends UsageError {
  override readonly name = "TraceFileError";
  constructor(path: string, reason: string) {
    super(`--trace-out ${path} cannot be written: ${reason}`);
  }
}
