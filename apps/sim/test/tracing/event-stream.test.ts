import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TraceEvent, TraceValue } from "@kvm-age/machine";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EventRecord } from "../../src/tracing/event-record.js";
import { createEventStream, type EventStream, STREAM_BUFFER_BYTES } from "../../src/tracing/event-stream.js";
import { readEventStream } from "../../src/tracing/event-stream-reader.js";
import { EventStreamWriter } from "../../src/tracing/event-stream-writer.js";
import { createRecordingClock } from "../../src/tracing/recording-clock.js";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "kvm-age-stream-"));
});
afterAll(() => rm(directory, { recursive: true }));

let streams = 0;
function newStream(): EventStream {
  return createEventStream({
    comm: "test",
    path: join(directory, `${streams++}.events`),
    clock: createRecordingClock(Number.POSITIVE_INFINITY),
    irqsOffInFastPageFault: false,
  });
}

async function readAll(stream: EventStream): Promise<EventRecord[]> {
  const records: EventRecord[] = [];
  for await (const batch of readEventStream(stream)) records.push(...batch);
  return records;
}

const value: fc.Arbitrary<TraceValue> = fc.oneof(
  fc.double({ noNaN: true }),
  fc.bigInt(0n, 2n ** 64n - 1n),
  fc.boolean(),
  fc.string({ unit: "binary", maxLength: 50 }),
);
const event: fc.Arbitrary<TraceEvent> = fc.record({
  name: fc.constantFrom("kvm_age_hva", "kvm_mmu_set_spte", "an_event_with_a_long_name"),
  fields: fc.dictionary(fc.constantFrom("gfn", "old_spte", "new_spte", "level", "x"), value, { maxKeys: 5 }),
});
const record = fc.record({
  event,
  moment: fc.record({ ns: fc.nat({ max: 2 ** 52 }), sequence: fc.integer() }),
  context: fc.record({ preemptDepth: fc.nat({ max: 15 }), irqsOff: fc.boolean() }),
});

describe("an event stream", () => {
  test("gives back what was appended, in order", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(record, { maxLength: 60 }), async (records) => {
        const stream = newStream();
        const writer = new EventStreamWriter(stream);
        for (const { event, moment, context } of records) writer.append(event, moment, context);
        writer.close();
        const expected = records.map(({ event, moment, context }) => ({ ...moment, ...context, ...event }));
        // Fields from fast-check have no prototype.
        const plain = expected.map((one) => ({ ...one, fields: { ...one.fields } }));
        expect(await readAll(stream)).toEqual(plain);
      }),
    );
  });

  test("spills full buffers into its file, and only then makes one", async () => {
    const stream = newStream();
    const writer = new EventStreamWriter(stream);
    const name = "kvm_age_hva";
    const context = { preemptDepth: 1, irqsOff: false };
    const append = (ns: number): void => {
      writer.append({ name, fields: { start: ns, text: "x".repeat(100) } }, { ns, sequence: ns }, context);
    };
    append(0);
    expect(await readdir(directory)).not.toContain(stream.path.split("/").at(-1));
    const count = Math.ceil((5 * STREAM_BUFFER_BYTES) / 100);
    for (let ns = 1; ns < count; ns++) append(ns);
    writer.close();
    expect(await readdir(directory)).toContain(stream.path.split("/").at(-1));
    const records = await readAll(stream);
    expect(records.map(({ ns }) => ns)).toEqual(Array.from({ length: count }, (_, index) => index));
    expect(records.every(({ ns, fields }) => fields.start === ns && fields.text === "x".repeat(100))).toBe(
      true,
    );
  });
});
