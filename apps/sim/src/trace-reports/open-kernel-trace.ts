import { stat } from "node:fs/promises";
import {
  openIdentifiedTrace,
  openTrace,
  readTrace,
  type TraceIdentity,
  type TraceIdentityOverrides,
  type TraceReadReport,
  type TraceRecord,
  TruncatedTraceError,
} from "@kvm-age/trace";
import { TraceNotAFileError, TraceNotFoundError, TraceUnreadableError } from "../lackey/errors.js";
import type { RunContext } from "../terminal/run-context.js";
import { NoEventsError } from "./errors.js";
import { untilAborted } from "./until-aborted.js";

/** How a trace is read. */
export interface KernelTraceOptions {
  /** Stop at the first line that cannot be read. */
  readonly strict: boolean;
  readonly overrides: TraceIdentityOverrides;
}

/** A trace whose beginning has told what wrote it. */
export interface KernelTrace {
  readonly identity: TraceIdentity;
  /** All records; to be iterated once. Ends early where the file does, and when the user interrupts. */
  readonly batches: AsyncIterable<readonly TraceRecord[]>;
  /** What the records iterated so far tell of the kernel and MMU. */
  readonly identityNow: () => TraceIdentity;
  readonly report: () => TraceReadReport;
  /** How the file ended too early; null if it did not. */
  readonly truncated: () => TruncatedTraceError | null;
}

/**
 * Checks that a trace can be opened. Files of size 0 pass, as those of tracefs say that they are.
 * @throws TraceNotFoundError, TraceNotAFileError, TraceUnreadableError
 */
async function checkPath(path: string): Promise<void> {
  if (path === "-") return;
  const stats = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") throw new TraceNotFoundError(path);
    throw new TraceUnreadableError(path, error.code ?? error.message);
  });
  if (stats.isDirectory()) throw new TraceNotAFileError(path, "a directory");
}

/** What reading a file can fail with, by name. */
function namedReadError(path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  return (error as NodeJS.ErrnoException).syscall === undefined
    ? error
    : new TraceUnreadableError(path, code ?? "error");
}

function releaseInput(path: string): void {
  if (path === "-") process.stdin.destroy();
}

/**
 * Opens a trace of the kernel, text or gzip of text, `-` for standard input, and reads as much of it as tells what wrote it.
 * @param onBytes gets each chunk of text before its records come
 * @throws TraceNotFoundError, TraceNotAFileError, TraceUnreadableError, BinaryTraceError when there is nothing to read
 * @throws DamagedLineError when reading is strict
 * @throws UnsupportedSpteFormatOptionError when the user's answers contradict each other
 */
export async function openKernelTrace(
  path: string,
  { strict, overrides }: KernelTraceOptions,
  { signal, progress }: Pick<RunContext, "signal" | "progress">,
  onBytes: (chunk: Uint8Array) => void = () => {},
): Promise<KernelTrace> {
  await checkPath(path);
  let truncated: TruncatedTraceError | null = null;
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for await (const chunk of openTrace(path)) {
      onBytes(chunk);
      yield chunk;
    }
  }
  const reader = readTrace(bytes(), { strict });
  async function* records(): AsyncGenerator<readonly TraceRecord[]> {
    try {
      for await (const batch of reader) {
        progress.update(`reading ${path}: ${reader.report.lines.toLocaleString("en-US")} lines`);
        yield batch;
      }
    } catch (error) {
      if (!(error instanceof TruncatedTraceError)) throw namedReadError(path, error);
      truncated = error;
    }
  }
  const source = untilAborted(records(), signal, () => releaseInput(path));
  const identified = await openIdentifiedTrace(source, overrides);
  return { ...identified, report: () => reader.report, truncated: () => truncated };
}

/**
 * Checks that a trace that has been read had something to say.
 * @throws NoEventsError if not a single line was an event
 */
export function checkHasEvents(path: string, { records, lines, damaged }: TraceReadReport): void {
  if (records > 0) return;
  const [first] = damaged.first;
  const why = first === undefined ? null : `line ${first.line}, ${first.reason}`;
  throw new NoEventsError(path, lines, why);
}
