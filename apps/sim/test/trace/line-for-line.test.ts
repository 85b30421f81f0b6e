import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { formatTraceRecord, parseTraceText, type TraceKernel, traceHeader } from "@kvm-age/trace";
import { describe, expect, it } from "vitest";

const root = new URL("../fixtures/kernel-traces/", import.meta.url);
const paths = readdirSync(root, { recursive: true })
  .map(String)
  .filter((path) => path.endsWith(".trace.gz"))
  .sort();

/** The first line that differs, beside what it became. */
function firstDifference(text: string, written: string): object | null {
  if (text === written) return null;
  const lines = text.split("\n");
  const others = written.split("\n");
  const index = lines.findIndex((line, at) => line !== others[at]);
  return { line: index + 1, text: lines[index], written: others[index] };
}

describe("every trace of a real kernel is read, and written again byte for byte", () => {
  it("there are 85", () => expect(paths).toHaveLength(85));

  it.each(paths)("%s", (path) => {
    const kernel: TraceKernel = path.startsWith("linux-6.12") ? "linux-6.12" : "linux-7.3";
    const text = gunzipSync(readFileSync(new URL(path, root))).toString();
    const { records, report } = parseTraceText(text, { strict: true });
    const header = traceHeader({ form: "trace" }, report.header!);
    const lines = records.map((record) => `${formatTraceRecord(record, { kernel, form: "trace" })}\n`);
    expect(firstDifference(text, header + lines.join(""))).toBeNull();
    expect(report.unknownEvents.size).toBe(0);
    expect(records).toHaveLength(report.header!.entriesInBuffer);
  });
});
