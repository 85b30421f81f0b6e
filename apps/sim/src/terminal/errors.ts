import { UsageError } from "../options/errors.js";

/** Thrown when the file for JSON output is a directory or in none, or cannot be written. */
export class JsonFileError extends UsageError {
  override readonly name = "JsonFileError";
  constructor(path: string, reason: string) {
    super(`--json ${path} cannot be written: ${reason}`);
  }
}
