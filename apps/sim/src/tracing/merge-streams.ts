import type { EventRecord } from "./event-record.js";

/** A source of events in order of time, and the one that comes next. */
class Head<Origin> {
  private batch: readonly EventRecord[] = [];
  private index = 0;

  constructor(
    readonly origin: Origin,
    private readonly batches: AsyncIterator<readonly EventRecord[]>,
  ) {}

  get record(): EventRecord {
    return this.batch[this.index]!;
  }

  /** Moves on within the batch; false at its end. */
  step(): boolean {
    return ++this.index < this.batch.length;
  }

  /** Fetches the next batch; false at the end of the stream. */
  async refill(): Promise<boolean> {
    const { value, done } = await this.batches.next();
    if (done === true) return false;
    this.batch = value;
    this.index = 0;
    return true;
  }
}

/** By time; within one nanosecond by sequence numbers, which wrap around. */
function isBefore(a: EventRecord, b: EventRecord): boolean {
  return a.ns !== b.ns ? a.ns < b.ns : ((a.sequence - b.sequence) | 0) < 0;
}

/** A stream and what its events have in common. */
export interface Source<Origin> {
  readonly origin: Origin;
  readonly batches: AsyncIterable<readonly EventRecord[]>;
}

function first<Origin>(heads: readonly Head<Origin>[]): Head<Origin> | undefined {
  let earliest = heads[0];
  for (const head of heads) {
    if (isBefore(head.record, earliest!.record)) earliest = head;
  }
  return earliest;
}

/**
 * Merges streams, each in order of time, into one. Holds a batch of each. A run has a few dozen threads at most, so the earliest is found by
 * looking at all.
 */
export async function* mergeStreams<Origin>(
  sources: readonly Source<Origin>[],
): AsyncGenerator<readonly (readonly [Origin, EventRecord])[]> {
  const heads: Head<Origin>[] = [];
  for (const { origin, batches } of sources) {
    const head = new Head(origin, batches[Symbol.asyncIterator]());
    if (await head.refill()) heads.push(head);
  }
  let merged: (readonly [Origin, EventRecord])[] = [];
  for (let head = first(heads); head !== undefined; head = first(heads)) {
    merged.push([head.origin, head.record]);
    if (head.step()) continue;
    yield merged;
    merged = [];
    if (!(await head.refill())) heads.splice(heads.indexOf(head), 1);
  }
}
