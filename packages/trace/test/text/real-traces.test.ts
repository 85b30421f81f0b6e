import { expect, it } from "vitest";
import { formatTraceRecord, parseTraceText, traceHeader } from "../../src/index.js";
import { traceFixture } from "../support/trace-fixture.js";

it.each([
  ["linux-7.3-npt-tdpmmu/age_thp.trace.gz", "linux-7.3"],
  ["linux-6.12-npt-tdpmmu/age_thp.trace.gz", "linux-6.12"],
  ["linux-7.3-nonpt/age4k_zeropage.trace.gz", "linux-7.3"],
] as const)("%s is written again byte for byte", (path, kernel) => {
  const text = traceFixture(path);
  const { records, report } = parseTraceText(text, { strict: true });
  const lines = records.map((record) => `${formatTraceRecord(record, { kernel, form: "trace" })}\n`);
  expect(traceHeader({ form: "trace" }, report.header!) + lines.join("")).toBe(text);
  expect(report).toMatchObject({ records: report.header!.entriesInBuffer, lost: { events: 0, unknown: 0 } });
});
