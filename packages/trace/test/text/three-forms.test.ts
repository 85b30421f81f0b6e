import { describe, expect, it } from "vitest";
import { formatTraceRecord, parseTraceText, type TraceRecord, traceHeader } from "../../src/index.js";
import { traceFixture } from "../support/trace-fixture.js";

/** What does not depend on the form: the others print no flags, and begin at other lines. */
function bare(records: readonly TraceRecord[]): object[] {
  return records.map((record) => ({ ...record, line: 0, flags: "" }));
}

describe("20 events as the kernel, trace-cmd and perf print them", () => {
  const trace = parseTraceText(traceFixture("trace.txt"));

  it("are read whole", () => {
    expect(trace.report.damaged.first).toEqual([]);
    expect(trace.records).toHaveLength(20);
    expect(trace.records.map(({ kind }) => kind).filter((kind) => kind !== "kvm")).toEqual([
      "note",
      "probe",
      "other",
    ]);
  });

  it.each(["trace-cmd.txt", "perf.txt"])("%s gives the records of trace", (path) => {
    const { records, report } = parseTraceText(traceFixture(path));
    expect(report.damaged.first).toEqual([]);
    expect(bare(records)).toEqual(bare(trace.records));
  });

  it("may be mixed line by line", () => {
    const texts = ["trace.txt", "trace-cmd.txt", "perf.txt"].map(traceFixture);
    const mixed = Array.from({ length: 33 }, (_, line) => texts.map((text) => text.split("\n")[line] ?? ""));
    const { records, report } = parseTraceText(mixed.flat().join("\n"));
    expect(report.damaged.count).toBe(0);
    expect(records).toHaveLength(60);
    expect(new Set(records.map(({ timestampNs }) => timestampNs)).size).toBe(20);
  });

  it("the kernel's text is written again, header and all", () => {
    const header = traceHeader({ form: "trace" }, trace.report.header!);
    const lines = trace.records.map((record) =>
      formatTraceRecord(record, { kernel: "linux-6.12", form: "trace" }),
    );
    expect(`${header}${lines.join("\n")}\n`).toBe(traceFixture("trace.txt"));
  });

  it("trace-cmd's text is written again, but with pointers as the kernel prints them", () => {
    const header = traceHeader({ form: "trace-cmd" }, trace.report.header!);
    const lines = trace.records.map((record) =>
      formatTraceRecord(record, { kernel: "linux-6.12", form: "trace-cmd" }),
    );
    const kernelPointers = traceFixture("trace-cmd.txt").replace(
      /(sptep[ :])0x([0-9a-f]+)/g,
      (_, label, digits) => label + digits.padStart(16, "0"),
    );
    expect(`${header}${lines.join("\n")}\n`).toBe(kernelPointers);
  });
});
