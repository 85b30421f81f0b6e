import { checkTrace, identifyTrace, parseTraceText } from "@kvm-age/trace";
import { expect, test } from "vitest";
import type { TraceCheckResult } from "../../src/results/trace-check-result.js";
import { traceCheckResultSchema } from "../../src/results/trace-check-result.js";
import { plainStyle } from "../../src/terminal/style.js";
import { checkResult } from "../../src/trace-reports/check-result.js";
import { checkText } from "../../src/trace-reports/check-text.js";

const FAULT = "kvm_page_fault: vcpu 0 rip 0x1000 address 0x0000000000002000 error_code 0x200000006";

/** The check of a trace in which the tasks fault on vCPU 0, one after another. */
function checked(...pids: readonly number[]): TraceCheckResult {
  const text = pids
    .map((pid) => `              vm-${pid}       [000] .....     0.000000: ${FAULT}\n`)
    .join("");
  const { records } = parseTraceText(text);
  const identity = identifyTrace(records);
  const read: TraceCheckResult["read"] = {
    ...{ file: "-", complete: true, lines: pids.length, records: records.length, lostEvents: 0 },
    ...{ lostUnknown: 0, damagedLines: 0, firstDamaged: [], events: [] },
  };
  const result = checkResult(
    { identity, read, unjudgedGaps: 0 },
    checkTrace(records, identity),
    new Map<number, string>(),
  );
  return traceCheckResultSchema.parse(result);
}

test("a trace of two VMs is warned of, in the result and in its text", () => {
  const result = checked(100, 200, 100, 200, 100);
  const warning =
    "the trace seems to hold several VMs (vCPU 0 runs as tasks 100 and 200): state is judged as if it were one; record one VM, or keep the lines of one VM's tasks";
  expect(result.warnings).toEqual([warning]);
  expect(checkText(result, plainStyle)).toContain(`\nwarning: ${warning}`);
});

test("a trace of one VM is not", () => {
  const result = checked(100, 100, 100);
  expect(result.warnings).toEqual([]);
  expect(checkText(result, plainStyle)).not.toContain("warning");
});
