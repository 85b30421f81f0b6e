import type { TraceRecord } from "../schema/trace-record.js";
import { TraceIdentifier } from "./trace-identifier.js";
import type { TraceIdentity, TraceIdentityOverrides } from "./trace-identity.js";

/** A trace whose beginning has been read to learn what wrote it. */
export interface IdentifiedTrace {
  /** What the beginning tells; the records are to be read by it. */
  readonly identity: TraceIdentity;
  /** All records from the first on; to be iterated once. */
  readonly batches: AsyncIterable<readonly TraceRecord[]>;
  /** What the records iterated so far tell, which may be more than the beginning did. */
  readonly identityNow: () => TraceIdentity;
}

/** Events of KVM that are looked at first. Kept in memory meanwhile. */
const HEAD_EVENTS = 20_000;

/** Records of any kind that are looked at first, at most: a trace may hold few events of KVM. */
const HEAD_RECORDS = 100_000;

/**
 * Reads the beginning of a trace, up to 20,000 events of KVM or 100,000 records, to learn what wrote it.
 * @throws UnsupportedSpteFormatOptionError if the user says that a mode other than EPT has no A/D bits; whatever reading throws
 */
export async function openIdentifiedTrace(
  source: AsyncIterable<readonly TraceRecord[]>,
  overrides: TraceIdentityOverrides = {},
): Promise<IdentifiedTrace> {
  const identifier = new TraceIdentifier(overrides);
  const iterator = source[Symbol.asyncIterator]();
  const head: (readonly TraceRecord[])[] = [];
  let events = 0;
  let records = 0;
  while (events < HEAD_EVENTS && records < HEAD_RECORDS) {
    const next = await iterator.next();
    if (next.done === true) break;
    head.push(next.value);
    records += next.value.length;
    for (const record of next.value) {
      identifier.observe(record);
      if (record.kind === "kvm") events++;
    }
  }
  async function* batches(): AsyncGenerator<readonly TraceRecord[]> {
    try {
      for (let batch = head.shift(); batch !== undefined; batch = head.shift()) yield batch;
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
        for (const record of next.value) identifier.observe(record);
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }
  return { identity: identifier.identity(), batches: batches(), identityNow: () => identifier.identity() };
}
