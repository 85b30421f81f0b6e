import { expect, test } from "vitest";
import { openIdentifiedTrace, parseTraceText, type TraceRecord } from "../../src/index.js";

test("reads no more than 100,000 records ahead when few are events of KVM", async () => {
  const { records } = parseTraceText("a-1 [000] ..... 1.000000: tracing_mark_write: hello\n");
  expect(records).toHaveLength(1);
  const batch = Array.from({ length: 1000 }, () => records[0]!);
  let read = 0;
  async function* batches(): AsyncGenerator<readonly TraceRecord[]> {
    for (; read < 300; read++) yield batch;
  }
  const trace = await openIdentifiedTrace(batches());
  expect(read).toBeLessThanOrEqual(100);
  let seen = 0;
  for await (const { length } of trace.batches) seen += length;
  expect(seen).toBe(300_000);
});
