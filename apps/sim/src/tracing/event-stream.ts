import type { RecordingClockHandle } from "./recording-clock.js";

/** Words of an event stream's header: 64-bit floats, so that counts stay exact far beyond 2^32. */
export const STREAM_WORDS = {
  /** Bytes of the stream that are in its file. */
  spilledBytes: 0,
  /** Bytes of the stream so far; those after `spilledBytes` are in the buffer. */
  publishedBytes: 1,
  events: 2,
  /** Events that came after the limit. */
  lost: 3,
  /** The thread, as the system numbers it. */
  pid: 4,
  /** The processor; -1 before the thread has one. */
  cpu: 5,
} as const;

/** Bytes of the header, a power of two above its words. */
export const STREAM_HEADER_BYTES = 64;

/** Bytes of events that a thread holds back before it writes them to its file. */
export const STREAM_BUFFER_BYTES: number = 256 * 1024;

/**
 * What one thread records, as plain data for that thread. The buffer is shared, so that whatever way the thread ends, the main
 * thread finds what it recorded last: a record counts once `publishedBytes` includes it.
 */
export interface EventStream {
  /** Name of the task, at most 15 characters. */
  readonly comm: string;
  /** Where full buffers go; made at the first of them. */
  readonly path: string;
  /** Header, then buffer. */
  readonly memory: SharedArrayBuffer;
  readonly clock: RecordingClockHandle;
  /** Whether lockless walks of shadow pages, where `fast_page_fault` is emitted, run with interrupts off. */
  readonly irqsOffInFastPageFault: boolean;
}

/** A new, empty stream. */
export function createEventStream(
  init: Pick<EventStream, "comm" | "path" | "clock" | "irqsOffInFastPageFault">,
): EventStream {
  const memory = new SharedArrayBuffer(STREAM_HEADER_BYTES + STREAM_BUFFER_BYTES);
  streamWords({ memory })[STREAM_WORDS.cpu] = -1;
  return { ...init, memory };
}

/** The header. */
export function streamWords({ memory }: Pick<EventStream, "memory">): Float64Array {
  return new Float64Array(memory, 0, STREAM_HEADER_BYTES / 8);
}

/** The buffer. */
export function streamBuffer({ memory }: EventStream): Uint8Array {
  return new Uint8Array(memory, STREAM_HEADER_BYTES);
}
