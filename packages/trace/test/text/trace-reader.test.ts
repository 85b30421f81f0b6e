import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  DamagedLineError,
  parseTraceText,
  readTrace,
  type TraceReader,
  type TraceRecord,
} from "../../src/index.js";
import { traceFixture } from "../support/trace-fixture.js";

async function* inChunks(text: string | Buffer, bytes: number): AsyncGenerator<Uint8Array> {
  const all = Buffer.from(text as string);
  for (let from = 0; from < all.length; from += bytes) yield all.subarray(from, from + bytes);
}

async function recordsOf(reader: TraceReader): Promise<TraceRecord[]> {
  const records: TraceRecord[] = [];
  for await (const batch of reader) records.push(...batch);
  return records;
}

const EVENT = "kvm_test_age_hva: mmu notifier test age hva: 0x007f3a5c642000";
const line = (time: number, event = EVENT): string =>
  `         kswapd0-112     [012] ...1.  2412.${String(time).padStart(6, "0")}: ${event}\n`;

describe("readTrace", () => {
  it("gives the same however the text is cut", async () => {
    const text = traceFixture("trace.txt").repeat(2);
    const whole = parseTraceText(text);
    const property = fc.asyncProperty(fc.integer({ min: 1, max: 3000 }), async (bytes) => {
      const reader = readTrace(inChunks(text, bytes));
      expect(await recordsOf(reader)).toEqual(whole.records);
      expect(reader.report).toEqual(whole.report);
    });
    await fc.assert(property, { numRuns: 30 });
  });

  it("does not depend on chunks that are used again", async () => {
    const all = Buffer.from(traceFixture("trace.txt"));
    const shared = Buffer.alloc(100);
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let from = 0; from < all.length; from += shared.length) {
        yield shared.subarray(0, all.copy(shared, 0, from));
      }
    }
    expect(await recordsOf(readTrace(source()))).toEqual(parseTraceText(all.toString()).records);
  });

  it("takes a last line without newline, and lines that end with CR", async () => {
    const text = line(1).replace("\n", "\r\n") + line(2).trimEnd();
    const records = await recordsOf(readTrace(inChunks(text, 50)));
    expect(records.map((record) => record.line)).toEqual([1, 2]);
  });

  it("passes over lines that are too long, and holds none of them", async () => {
    const long = line(2, `sched_switch: ${"x".repeat(1_000_000)}`);
    const reader = readTrace(inChunks(line(1) + long + line(3), 4096));
    expect((await recordsOf(reader)).map((record) => record.line)).toEqual([1, 3]);
    expect(reader.report.damaged).toMatchObject({
      count: 1,
      first: [{ line: 2, reason: "longer than 65536 bytes" }],
    });
    expect(reader.report.damaged.first[0]!.text).toHaveLength(200);
    const inMemory = parseTraceText(line(1) + long + line(3));
    expect(inMemory.report).toEqual(reader.report);
  });

  it("counts what it met", () => {
    const text = [
      ...["# entries-in-buffer/entries-written: 3/5   #P:4", "cpus=4", "", "##### CPU 2 buffer started ####"],
      ...["CPU:1 [LOST 12 EVENTS]", "CPU:2 [LOST EVENTS]", "CPU:3 [7 EVENTS DROPPED]", "[LINE TOO BIG]"],
      ...[
        " => kvm_age_gfn",
        "\tffffffff811223344 kvm_age_gfn+0x4 ([kernel.kallsyms])",
        "what is this",
        line(1).trimEnd(),
        line(2, "kvm_test_age_hva: ?").trimEnd(),
      ],
      ...[line(3, "sched_switch: a").trimEnd(), line(4, "tracing_mark_write: b").trimEnd()],
      line(5, "age_gfn: (kvm_age_gfn+0x4/0x60) start=0x1").trimEnd(),
    ].join("\n");
    const { report } = parseTraceText(text);
    expect(report).toMatchObject({ lines: 16, records: 4, lost: { events: 19, unknown: 1 } });
    expect(report.header).toEqual({ entriesInBuffer: 3, entriesWritten: 5, cpus: 4 });
    expect(Object.fromEntries(report.events)).toEqual({
      ...{ kvm_test_age_hva: 1, sched_switch: 1, tracing_mark_write: 1, age_gfn: 1 },
    });
    expect(Object.fromEntries(report.unknownEvents)).toEqual({ sched_switch: 1 });
    expect(report.damaged.first.map((damaged) => damaged.line)).toEqual([11, 13]);
  });

  it("keeps the first 20 damaged lines, cut to 200 characters, and counts all", () => {
    const { report } = parseTraceText(`${"ü".repeat(500)}\n`.repeat(50));
    expect(report.damaged.count).toBe(50);
    expect(report.damaged.first).toHaveLength(20);
    expect(report.damaged.first[19]).toMatchObject({ line: 20, text: "ü".repeat(200) });
  });

  it("throws at the first damaged line if strict", async () => {
    const text = `${line(1)}damage\n${line(2)}`;
    expect(() => parseTraceText(text, { strict: true })).toThrow(DamagedLineError);
    const reader = readTrace(inChunks(text, 7), { strict: true });
    await expect(recordsOf(reader)).rejects.toMatchObject({ line: 2, text: "damage" });
  });

  it("tells the layouts of kernels apart", () => {
    const { evidence } = parseTraceText(traceFixture("linux-7.3-npt-tdpmmu/age_thp.trace.gz")).report;
    expect(evidence).toMatchObject({ threeLetterAccess: 0, requestedWithoutAccess: 0, pluginPageText: 0 });
    expect(evidence.fourLetterAccess).toBeGreaterThan(0);
    expect(evidence.requestedWithAccess).toBeGreaterThan(0);
    const older = parseTraceText(traceFixture("linux-6.12-npt-tdpmmu/age_thp.trace.gz")).report.evidence;
    expect(older).toMatchObject({ fourLetterAccess: 0, requestedWithAccess: 0 });
  });

  it("does not grow with made-up names of events", () => {
    const text = Array.from({ length: 10_000 }, (_, index) => line(index, `made_up_${index}: x`)).join("");
    const { records, report } = parseTraceText(text);
    expect(records[9_999]).toMatchObject({ name: "made_up_9999" });
    expect(report.events.size).toBe(4097);
    expect(report.events.get("…")).toBe(10_000 - 4096);
  });

  it("reads a damaged copy of a trace without an error, and what is whole in it", () => {
    const text = traceFixture("linux-7.3-npt-tdpmmu/age_thp.trace.gz");
    const lines = text.split("\n").length - 1;
    const damage = fc.array(
      fc.tuple(fc.nat(text.length - 1), fc.constantFrom("\u0000", " ", "[", "9", "é", ":")),
      {
        maxLength: 30,
      },
    );
    fc.assert(
      fc.property(damage, (changes) => {
        const letters = [...text];
        for (const [at, letter] of changes) if (letters[at] !== "\n") letters[at] = letter;
        const { report } = parseTraceText(letters.join(""));
        expect(report.lines).toBe(lines);
        expect(report.records + report.damaged.count).toBeGreaterThanOrEqual(184 - changes.length);
        expect(report.damaged.count).toBeLessThanOrEqual(changes.length);
      }),
      { numRuns: 50 },
    );
  });
});
