import { type FileHandle, open } from "node:fs/promises";
import { EventDecoder } from "./event-decoder.js";
import type { EventRecord } from "./event-record.js";
import { type EventStream, STREAM_WORDS, streamBuffer, streamWords } from "./event-stream.js";

/** Bytes read from a stream's file at a time. */
const CHUNK_BYTES = 64 * 1024;

/** The bytes of a stream whose thread has ended: its file's, then its buffer's. */
async function* chunksOf(stream: EventStream): AsyncGenerator<Uint8Array> {
  const words = streamWords(stream);
  const spilled = words[STREAM_WORDS.spilledBytes]!;
  if (spilled > 0) {
    const file = await open(stream.path, "r");
    try {
      yield* fileChunks(file, spilled);
    } finally {
      await file.close();
    }
  }
  yield streamBuffer(stream).subarray(0, words[STREAM_WORDS.publishedBytes]! - spilled);
}

async function* fileChunks(file: FileHandle, bytes: number): AsyncGenerator<Uint8Array> {
  for (let position = 0; position < bytes; ) {
    const chunk = new Uint8Array(Math.min(CHUNK_BYTES, bytes - position));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield chunk.subarray(0, bytesRead);
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second;
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/** Decodes the whole records at the start of `bytes` into `records`; returns the rest. */
function decodeWhole(decoder: EventDecoder, bytes: Uint8Array, records: EventRecord[]): Uint8Array {
  let rest = bytes;
  for (;;) {
    const length = EventDecoder.recordBytes(rest);
    if (length === 0 || length > rest.length) return rest;
    const record = decoder.decode(rest.subarray(0, length));
    if (record !== null) records.push(record);
    rest = rest.subarray(length);
  }
}

/** The events of a stream whose thread has ended, in their order, a batch at a time. */
export async function* readEventStream(stream: EventStream): AsyncGenerator<readonly EventRecord[]> {
  const decoder = new EventDecoder();
  let rest = new Uint8Array(0) as Uint8Array;
  for await (const chunk of chunksOf(stream)) {
    const records: EventRecord[] = [];
    rest = decodeWhole(decoder, joined(rest, chunk), records);
    if (records.length > 0) yield records;
  }
}
