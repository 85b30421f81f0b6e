import { closeSync, openSync, writeSync } from "node:fs";
import type { TraceEvent } from "@kvm-age/machine";
import { type Context, EventEncoder, encodedBytesAtMost } from "./event-encoder.js";
import { type EventStream, STREAM_WORDS, streamBuffer, streamWords } from "./event-stream.js";
import type { Moment } from "./recent-writes.js";

/** A thread's end of its event stream. */
export class EventStreamWriter {
  private readonly words: Float64Array;
  private readonly buffer: Uint8Array;
  private readonly encoder: EventEncoder;
  private file: number | null = null;

  constructor(private readonly stream: EventStream) {
    this.words = streamWords(stream);
    this.buffer = streamBuffer(stream);
    this.encoder = new EventEncoder(this.buffer);
  }

  /**
   * Appends one event.
   * @throws Error of the file system if a full buffer cannot be written.
   */
  append(event: TraceEvent, moment: Moment, context: Context): void {
    if (this.used + encodedBytesAtMost(event) > this.buffer.length) this.spill();
    const start = this.used;
    const end = this.encoder.encode(start, event, moment, context);
    this.words[STREAM_WORDS.events]!++;
    // Last: a thread that is ended before this has not appended the event.
    this.words[STREAM_WORDS.publishedBytes]! += end - start;
  }

  /** An event came after the limit. */
  lose(): void {
    this.words[STREAM_WORDS.lost]!++;
  }

  /** Closes the file; what the buffer holds is left to the reader. */
  close(): void {
    if (this.file !== null) closeSync(this.file);
    this.file = null;
  }

  private get used(): number {
    return this.words[STREAM_WORDS.publishedBytes]! - this.words[STREAM_WORDS.spilledBytes]!;
  }

  /** Writes the buffer to the file. A thread that is ended on the way leaves it in the buffer: one word decides. */
  private spill(): void {
    this.file ??= openSync(this.stream.path, "w");
    const bytes = this.used;
    const position = this.words[STREAM_WORDS.spilledBytes]!;
    for (let written = 0; written < bytes; ) {
      written += writeSync(this.file, this.buffer, written, bytes - written, position + written);
    }
    this.words[STREAM_WORDS.spilledBytes] = position + bytes;
  }
}
