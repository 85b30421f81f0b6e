import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/** Text of a file in `test/fixtures`, unpacked. */
export function traceFixture(path: string): string {
  const bytes = readFileSync(new URL(`../fixtures/${path}`, import.meta.url));
  return (path.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString();
}
