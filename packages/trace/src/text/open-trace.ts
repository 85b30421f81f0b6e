import { createReadStream } from "node:fs";
import { gunzip } from "./gunzip.js";
import { HEAD_BYTES, refuseBinary } from "./refuse-binary.js";

const READ_BYTES = 1 << 18;

/** The chunks of `source`, of which the first is long enough to tell what it is. */
async function* withLongHead(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let head: Buffer | null = Buffer.alloc(0);
  for await (const chunk of source) {
    if (head === null) {
      yield chunk;
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < HEAD_BYTES) continue;
    yield head;
    head = null;
  }
  if (head !== null && head.length > 0) yield head;
}

/** Puts chunks that have been taken back in front of the others. */
async function* chain(first: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield first;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

/** `chunks`, once their beginning has been seen to be text. */
async function* textOnly(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let first = true;
  for await (const chunk of withLongHead(chunks)) {
    if (first) refuseBinary(chunk);
    first = false;
    yield chunk;
  }
}

function isGzip(head: Buffer): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

/**
 * The text of a trace in a file, plain or compressed by gzip, which its first bytes tell; `-` is the standard input. For `readTrace`.
 *
 * The iteration throws what opening and reading the file throws; `BinaryTraceError` for a recording that is no text;
 * `TruncatedTraceError`, after what could be read, for gzip that ends too early.
 */
export async function* openTrace(path: string): AsyncGenerator<Uint8Array> {
  const file = path === "-" ? process.stdin : createReadStream(path, { highWaterMark: READ_BYTES });
  const chunks = withLongHead(file as AsyncIterable<Buffer>);
  const first = await chunks.next();
  if (first.done === true) return;
  const bytes = chain(first.value, chunks);
  yield* textOnly(isGzip(first.value) ? gunzip(bytes) : bytes);
}
