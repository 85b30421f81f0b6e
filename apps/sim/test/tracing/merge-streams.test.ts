import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { EventRecord } from "../../src/tracing/event-record.js";
import { mergeStreams } from "../../src/tracing/merge-streams.js";

type Key = Pick<EventRecord, "ns" | "sequence">;

function eventAt({ ns, sequence }: Key): EventRecord {
  return { ns, sequence, preemptDepth: 0, irqsOff: false, name: "kvm_age_hva", fields: {} };
}

async function* inBatches(events: readonly EventRecord[], size: number): AsyncGenerator<EventRecord[]> {
  for (let at = 0; at < events.length; at += size) yield events.slice(at, at + size);
}

async function merge(streams: readonly (readonly Key[])[], batch: number): Promise<(Key & { of: number })[]> {
  const sources = streams.map((keys, origin) => ({ origin, batches: inBatches(keys.map(eventAt), batch) }));
  const merged: (Key & { of: number })[] = [];
  for await (const records of mergeStreams(sources)) {
    merged.push(...records.map(([of, { ns, sequence }]) => ({ of, ns, sequence })));
  }
  return merged;
}

const byNs = (a: Key, b: Key): number => a.ns - b.ns;
const stream = fc
  .array(fc.record({ ns: fc.nat({ max: 30 }), sequence: fc.constant(0) }), { maxLength: 30 })
  .map((keys) => keys.sort(byNs));

describe("mergeStreams", () => {
  test("puts all events in order of time, and each stream's in its own", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(stream, { maxLength: 5 }),
        fc.integer({ min: 1, max: 7 }),
        async (streams, batch) => {
          const merged = await merge(streams, batch);
          expect(merged.map(({ ns }) => ns)).toEqual(
            streams
              .flat()
              .sort(byNs)
              .map(({ ns }) => ns),
          );
          for (const [index, keys] of streams.entries()) {
            expect(merged.filter(({ of }) => of === index).map(({ ns }) => ns)).toEqual(
              keys.map(({ ns }) => ns),
            );
          }
        },
      ),
    );
  });

  test("decides equal nanoseconds by sequence numbers, which wrap around", async () => {
    const merged = await merge([[{ ns: 7, sequence: -(2 ** 31) }], [{ ns: 7, sequence: 2 ** 31 - 1 }]], 1);
    expect(merged.map(({ of }) => of)).toEqual([1, 0]);
  });
});
