import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatTraceRecord,
  KVM_EVENT_SHAPES,
  type KvmEventName,
  parseTraceText,
  TRACE_KERNELS,
  type TraceRecord,
  type TraceTextLayout,
} from "../../src/index.js";
import { arbitraryKvmEvent, arbitraryOtherRecord } from "../support/arbitrary-record.js";

const FORMS = ["trace", "trace-cmd", "perf"] as const;
const LAYOUTS = TRACE_KERNELS.flatMap((kernel) => FORMS.map((form): TraceTextLayout => ({ kernel, form })));
const NAMES = Object.keys(KVM_EVENT_SHAPES) as KvmEventName[];

function expectSame(record: TraceRecord, layout: TraceTextLayout): void {
  const line = formatTraceRecord(record, layout);
  const { records, report } = parseTraceText(line);
  expect(report.damaged.first).toEqual([]);
  expect(records).toEqual([layout.form === "trace" ? record : { ...record, flags: "" }]);
}

describe.each(LAYOUTS)("text of $kernel in the form $form", (layout) => {
  it.each(NAMES)("%s is read as it was", (name) => {
    const property = fc.property(arbitraryKvmEvent(layout.kernel, name), (record) =>
      expectSame(record, layout),
    );
    fc.assert(property, { numRuns: 40 });
  });

  it("notes, probes and other events are read as they were", () => {
    fc.assert(
      fc.property(arbitraryOtherRecord, (record) => expectSame(record, layout)),
      { numRuns: 300 },
    );
  });
});
