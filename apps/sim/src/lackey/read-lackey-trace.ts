import { UsageError } from "../options/errors.js";
import type { AccessBatch } from "./access-batch.js";
import { CorruptGzipError, EmptyTraceError, TraceUnreadableError, TruncatedGzipError } from "./errors.js";
import { LackeyParser } from "./lackey-parser.js";
import { openTrace } from "./open-trace.js";

/** Names what went wrong while a stream was read, given the lines that came out of it. */
function namedStreamError(path: string, lines: number, error: unknown): unknown {
  if (error instanceof UsageError) return error;
  const { code = "", message } = error as NodeJS.ErrnoException;
  if (code === "Z_BUF_ERROR") return new TruncatedGzipError(path, lines);
  if (code.startsWith("Z_")) return new CorruptGzipError(path, lines, message);
  return code === "" ? error : new TraceUnreadableError(path, code);
}

async function* parseStream(path: string, parser: LackeyParser): AsyncGenerator<AccessBatch> {
  try {
    for await (const chunk of await openTrace(path)) yield* parser.push(chunk as Uint8Array);
    yield* parser.finish();
  } catch (error) {
    throw namedStreamError(path, parser.lines, error);
  }
}

/**
 * Reads a trace written by valgrind's lackey with `--trace-mem=yes`, text or gzip, in batches of up to 65,536
 * accesses; the file is never in memory as a whole. The page of an access is that of its first byte.
 * Leaving the loop early closes the file.
 * @throws TraceNotFoundError, TraceNotAFileError, TraceUnreadableError when there is nothing to read
 * @throws NotGzipError, TruncatedGzipError, CorruptGzipError when it does not unpack
 * @throws MalformedTraceLineError with the line number, for a line lackey does not write
 * @throws EmptyTraceError after the end, when there was no access
 */
export async function* readLackeyTrace(path: string): AsyncGenerator<AccessBatch> {
  const parser = new LackeyParser(path);
  let accesses = 0;
  for await (const batch of parseStream(path, parser)) {
    accesses += batch.pages.length;
    yield batch;
  }
  if (accesses === 0) throw new EmptyTraceError(path, parser.lines);
}
