import { BinaryTraceError } from "./errors.js";

/** What a file that is no text begins with, and the command that makes text of it. */
const SIGNATURES: readonly (readonly [start: Buffer, looksLike: string, command: string])[] = [
  [Buffer.from("\x17\x08\x44tracing", "latin1"), "a recording of trace-cmd (trace.dat)", "trace-cmd report"],
  [Buffer.from("PERFILE2"), "a recording of perf (perf.data)", "perf script"],
  [Buffer.from("2ELIFREP"), "a recording of perf (perf.data) from a big-endian machine", "perf script"],
  [Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), "compressed by zstd", "zstd -dc"],
  [Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]), "compressed by xz", "xz -dc"],
  [Buffer.from("BZh"), "compressed by bzip2", "bzip2 -dc"],
];

/** Bytes at the beginning that tell text from something else. */
export const HEAD_BYTES = 512;

/**
 * Looks at the beginning of a file.
 *
 * @throws {BinaryTraceError} if it is no text.
 */
export function refuseBinary(head: Buffer): void {
  for (const [start, looksLike, command] of SIGNATURES) {
    if (head.subarray(0, start.length).equals(start)) throw new BinaryTraceError(looksLike, command);
  }
  if (head.subarray(0, HEAD_BYTES).includes(0)) throw new BinaryTraceError("binary data", null);
}
