import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BundledTraceMissingError } from "./errors.js";

const TRACE = join("fixtures", "sqlite.lackey.gz");

/**
 * Path of the recorded trace that comes with the package, found upwards from this file.
 * @throws BundledTraceMissingError when the package is incomplete
 */
export function bundledTrace(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let directory = start; directory !== dirname(directory); directory = dirname(directory)) {
    if (existsSync(join(directory, TRACE))) return join(directory, TRACE);
  }
  throw new BundledTraceMissingError(start);
}
