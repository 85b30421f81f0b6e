import { describe, expect, it } from "vitest";
import { parseTraceText, type TraceRecord } from "../../src/index.js";

const EVENT = "kvm_test_age_hva: mmu notifier test age hva: 0x007f3a5c642000";

function read(line: string): TraceRecord {
  const { records, report } = parseTraceText(line);
  expect(report.damaged.first).toEqual([]);
  expect(records).toHaveLength(1);
  return records[0]!;
}

describe("what stands in front of an event", () => {
  it.each([
    [
      "names with blanks",
      `       CPU 3/KVM-9164    [005] .....  2412.104001: ${EVENT}`,
      "CPU 3/KVM",
      9164,
      5,
    ],
    [
      "names with dashes and digits",
      `    kworker-5-11-331     [005] .....  2412.104001: ${EVENT}`,
      "kworker-5-11",
      331,
      5,
    ],
    ["names with brackets", `       a [001] b-7       [002] .....  2412.104001: ${EVENT}`, "a [001] b", 7, 2],
    [
      "names of 15 characters",
      ` qemu-system-x86-9150    [002] ...1.  2412.104001: ${EVENT}`,
      "qemu-system-x86",
      9150,
      2,
    ],
    ["unknown names", `           <...>-2077    [007] ...1.  2412.104001: ${EVENT}`, "<...>", 2077, 7],
    [
      "names in UTF-8, padded by bytes",
      `          müller-2077    [007] ...1.  2412.104001: ${EVENT}`,
      "müller",
      2077,
      7,
    ],
    ["a tgid", `         kswapd0-112     (    112) [012] ...1.  2412.104001: ${EVENT}`, "kswapd0", 112, 12],
    [
      "an unknown tgid",
      `          <idle>-0       (-------) [012] ...1.  2412.104001: ${EVENT}`,
      "<idle>",
      0,
      12,
    ],
    ["1000 processors", `         kswapd0-112     [1012] ...1.  2412.104001: ${EVENT}`, "kswapd0", 112, 1012],
    [
      "pids of 8 digits",
      `         kswapd0-12345678 [012] ...1.  2412.104001: ${EVENT}`,
      "kswapd0",
      12345678,
      12,
    ],
    ["names that lost their padding", `kswapd0-112 [012] ...1. 2412.104001: ${EVENT}`, "kswapd0", 112, 12],
    [
      "perf's pid and tid",
      `       CPU 3/KVM  9150/9164  [005]  2412.104001: kvm:${EVENT}`,
      "CPU 3/KVM",
      9164,
      5,
    ],
    [
      "perf's tid alone",
      `          kswapd0     112 [012]  2412.104001:          1  kvm:${EVENT}`,
      "kswapd0",
      112,
      12,
    ],
    ["trace-cmd report -l", ` kswapd0-112    12...1.  2412.104001: ${EVENT}`, "kswapd0", 112, 12],
  ])("%s", (_, line, comm, pid, cpu) => {
    expect(read(line)).toMatchObject({ kind: "kvm", comm, pid, cpu, timestampNs: 2_412_104_001_000 });
  });

  it("brackets of a payload are no processor, wherever that of the line is", () => {
    const line = "kswapd0-112 [012] ...1. 2412.104001: some_event: cpu 3 [004] is near";
    expect(read(line)).toMatchObject({ comm: "kswapd0", pid: 112, cpu: 12, payload: "cpu 3 [004] is near" });
  });

  it.each([
    ["flags", "[005] d..2.  2412.104001", "d..2."],
    ["letters of lazy rescheduling", "[005] .L.1.  2412.104001", ".L.1."],
    ["6 flags of trace-cmd", "[005] d..2.0  2412.104001", "d..2.0"],
    ["no flags", "[005]  2412.104001", ""],
  ])("%s", (_, middle, flags) => {
    const line = `       CPU 3/KVM-9164    ${middle}: ${EVENT}`;
    expect(read(line)).toMatchObject({ flags, cpu: 5, timestampNs: 2_412_104_001_000 });
  });

  it.each([
    ["microseconds", "2412.104001", 2_412_104_001_000],
    ["tenths of microseconds", "2412.1040019", 2_412_104_001_900],
    ["nanoseconds", "2412.104001987", 2_412_104_001_987],
    ["a clock that counts something else", "   123456789012", 123_456_789_012],
  ])("%s", (_, time, timestampNs) => {
    expect(read(`         kswapd0-112     [012] ...1. ${time}: ${EVENT}`)).toMatchObject({ timestampNs });
  });

  it("microseconds of 146 years", () => {
    const { timestampNs } = read(`         kswapd0-112     [012] ...1. 4600000000.999999: ${EVENT}`);
    expect(Math.round(timestampNs / 1000)).toBe(4_600_000_000_999_999);
  });

  it.each([
    ["no time", `         kswapd0-112     [012] ...1. : ${EVENT}`, "expected a time"],
    ["3 digits of a second", `         kswapd0-112     [012] ...1. 2412.104: ${EVENT}`, "6 to 9 digits"],
    ["no name", "         kswapd0-112     [012] ...1. 2412.104001: ", "a name of an event"],
    ["no task", `[012] ...1. 2412.104001: ${EVENT}`, "a task and a processor"],
    ["a long word of flags", `         kswapd0-112     [012] ...1....  2412.104001: ${EVENT}`, "flags"],
    ["something else", "Linux version 7.3.4", "a task and a processor"],
  ])("%s is damage", (_, line, reason) => {
    const { records, report } = parseTraceText(`${line}\n`);
    expect(records).toEqual([]);
    expect(report.damaged).toMatchObject({ count: 1, first: [{ line: 1, text: line }] });
    expect(report.damaged.first[0]!.reason).toContain(reason);
  });
});
