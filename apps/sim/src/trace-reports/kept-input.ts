import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

/** A file that can be read as often as needed. */
export interface KeptInput {
  readonly path: string;
  /** Ends the reading. Not what ended the keeping: for a pipe that never ends, an interrupt is the end, and what came so far is to be read. */
  readonly signal: AbortSignal;
  /** Removes what was kept. */
  readonly release: () => Promise<void>;
}

/** Whether a path leads to bytes that are gone once they are read: standard input, a pipe. */
async function readOnlyOnce(path: string): Promise<boolean> {
  if (path === "-") return true;
  const stats = await stat(path).catch(() => null);
  return stats?.isFIFO() === true;
}

/** Makes a trace readable more than once: standard input and pipes go into a temporary file first. */
export async function keepInput(path: string, signal: AbortSignal): Promise<KeptInput> {
  if (!(await readOnlyOnce(path))) return { path, signal, release: async () => {} };
  const directory = await mkdtemp(join(tmpdir(), "kvm-age-trace-"));
  const kept = join(directory, "trace");
  const release = (): Promise<void> => rm(directory, { recursive: true, force: true });
  try {
    const input = path === "-" ? process.stdin : createReadStream(path);
    await pipeline(input, createWriteStream(kept), { signal });
    return { path: kept, signal, release };
  } catch (error) {
    if (signal.aborted) return { path: kept, signal: new AbortController().signal, release };
    await release();
    throw error;
  }
}
