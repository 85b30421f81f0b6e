import type { Stats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { pipeline, type Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import {
  EmptyTraceError,
  NotGzipError,
  TraceNotAFileError,
  TraceNotFoundError,
  TraceUnreadableError,
} from "./errors.js";

const CHUNK_BYTES = 1 << 20;

async function openHandle(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") throw new TraceNotFoundError(path);
    throw new TraceUnreadableError(path, code ?? message);
  }
}

function checkFile(path: string, stats: Stats): void {
  if (stats.isDirectory()) throw new TraceNotAFileError(path, "a directory");
  if (!stats.isFile()) throw new TraceNotAFileError(path, "a device, socket or pipe");
  if (stats.size === 0) throw new EmptyTraceError(path, 0);
}

/** Whether the file starts with gzip's magic number (RFC 1952 section 2.3.1: 1f 8b). */
async function isGzip(path: string, handle: FileHandle): Promise<boolean> {
  const { buffer, bytesRead } = await handle.read(new Uint8Array(2), 0, 2, 0);
  const gzip = bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
  if (!gzip && path.endsWith(".gz")) throw new NotGzipError(path, buffer.subarray(0, bytesRead));
  return gzip;
}

/**
 * Opens a trace as a stream of text in large chunks, unpacked if it is gzip. Errors of reading and unpacking
 * arrive as errors of the stream; destroying the stream closes the file.
 * @throws TraceNotFoundError, TraceNotAFileError, TraceUnreadableError, NotGzipError, EmptyTraceError
 */
export async function openTrace(path: string): Promise<Readable> {
  const handle = await openHandle(path);
  try {
    checkFile(path, await handle.stat());
    const gzip = await isGzip(path, handle);
    const file = handle.createReadStream({ start: 0, highWaterMark: CHUNK_BYTES });
    if (!gzip) return file;
    const unpacked = createGunzip({ chunkSize: CHUNK_BYTES });
    pipeline(file, unpacked, () => {});
    return unpacked;
  } catch (error) {
    await handle.close();
    throw error;
  }
}
