import { createGunzip, type Gunzip } from "node:zlib";
import { TruncatedTraceError } from "./errors.js";

/** Compressed bytes that are taken at once; bounds what is held, as they become up to a thousand times as many. */
const SLICE_BYTES = 1 << 14;
const CHUNK_BYTES = 1 << 17;

/** A stream of Node, out of which everything is taken before more goes in: it drops what it holds when it fails. */
class Unpacker {
  failure: Error | null = null;
  bytesRead = 0;
  readonly #stream: Gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
  readonly #failed: Promise<void>;
  readonly #ended: Promise<void>;
  #ready: Buffer[] = [];

  constructor() {
    this.#stream.on("data", (chunk: Buffer) => {
      this.#ready.push(chunk);
      this.bytesRead += chunk.length;
    });
    this.#failed = new Promise((resolve) => {
      this.#stream.on("error", (error) => {
        this.failure = error;
        resolve();
      });
    });
    this.#ended = new Promise((resolve) => {
      this.#stream.on("end", resolve);
    });
  }

  /** What `slice` gives. */
  async write(slice: Buffer): Promise<Buffer[]> {
    const written = new Promise<void>((resolve) => {
      this.#stream.write(slice, () => resolve());
    });
    await Promise.race([this.#failed, written]);
    return this.#takeReady();
  }

  /** What is left at the end. */
  async end(): Promise<Buffer[]> {
    this.#stream.end();
    await Promise.race([this.#failed, this.#ended]);
    return this.#takeReady();
  }

  destroy(): void {
    this.#stream.destroy();
  }

  #takeReady(): Buffer[] {
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }
}

/** The chunks of `source` in pieces that are not too long. */
async function* slices(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    for (let from = 0; from < chunk.length; from += SLICE_BYTES)
      yield chunk.subarray(from, from + SLICE_BYTES);
  }
}

/**
 * Unpacks gzip, also of several members. While the reader works on what a piece gave, Node unpacks the next one on another thread.
 *
 * The iteration throws `TruncatedTraceError` if the data end in the middle or are damaged, after what could be read.
 */
export async function* gunzip(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const unpacker = new Unpacker();
  try {
    let ready: Buffer[] = [];
    for await (const slice of slices(source)) {
      const next = unpacker.write(slice);
      yield* ready;
      ready = await next;
      if (unpacker.failure !== null) break;
    }
    yield* ready;
    if (unpacker.failure === null) yield* await unpacker.end();
    if (unpacker.failure !== null) throw new TruncatedTraceError(unpacker.bytesRead, unpacker.failure);
  } finally {
    unpacker.destroy();
  }
}
