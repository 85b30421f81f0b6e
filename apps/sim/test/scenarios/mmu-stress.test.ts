import { describe, expect, test } from "vitest";
import { mmuStressFailedChecks } from "../../src/scenarios/mmu-stress-checks.js";
import { mmuStressLines } from "../../src/scenarios/mmu-stress-lines.js";
import { mmuStressMeasures } from "../../src/scenarios/mmu-stress-measures.js";
import { mmuStressText } from "../../src/scenarios/mmu-stress-text.js";
import { plainStyle } from "../../src/terminal/style.js";
import { mmuStressResult } from "../results/results.js";

const GIB_PAGES = 2 ** 18;

/** What the selftest prints with `-c 2 -m 4 -s 1`, without the line that counts the missing vCPUs. */
const SELFTEST_OUTPUT = `Random seed: 0x6b8b4567
Running with 4gb of guest memory and 2 vCPUs
Waiting for vCPUs to finish spawning...
\rAll vCPUs finished spawning, releasing...
Waiting for vCPUs to finish run 1...
\rAll vCPUs finished run 1, releasing...
Waiting for vCPUs to finish reset...
\rAll vCPUs finished reset, releasing...
Waiting for vCPUs to finish run 2...
\rAll vCPUs finished run 2, releasing...
Waiting for vCPUs to finish mprotect RO...
\rAll vCPUs finished mprotect RO, releasing...
Waiting for vCPUs to finish mprotect RW...
\rAll vCPUs finished mprotect RW, releasing...
run1 = 1.500000000s, reset = 2.500000000s, run2 = 3.500000000s, ro = 4.500000000s, rw = 5.500000000s`;

describe("lines of mmu_stress_test", () => {
  test("equal the selftest's output byte for byte", () => {
    const { slots } = mmuStressResult();
    const result = mmuStressResult({ slots: { ...slots, pages: GIB_PAGES } });
    expect(mmuStressLines(result).join("\n")).toBe(SELFTEST_OUTPUT);
  });

  test("end with what an interrupted run has reached", () => {
    const { rendezvous } = mmuStressResult();
    const lines = mmuStressLines(mmuStressResult({ rendezvous: rendezvous.slice(0, 3) }));
    expect(lines.at(-1)).toBe("run1 = 1.500000000s, reset = 2.500000000s");
  });
});

describe("checks of mmu-stress", () => {
  test("pass a run in which every EFAULT has its reason", () => {
    expect(mmuStressFailedChecks(mmuStressResult())).toEqual([]);
    expect(mmuStressFailedChecks(mmuStressResult({ vcpus: [], ending: null }))).toEqual([]);
  });

  const [vcpu] = mmuStressResult().vcpus;
  const { readOnly, writable } = vcpu!;
  test.each([
    [{ readOnly: { ...readOnly, stores: 16, efaults: 0 } }, "no store to read-only memory ended in EFAULT"],
    [{ readOnly: { ...readOnly, lateStores: 1 } }, "1 stores succeeded after mprotect(PROT_READ)"],
    [{ readOnly: { ...readOnly, stores: 7 } }, "7 stores and 10 EFAULTs are no whole rounds of 8 pages"],
    [{ writable: { ...writable, stores: 7 } }, "7 of 8 pages could be written at the end"],
    [{ writable: { ...writable, lateEfaults: 2 } }, "2 EFAULTs after mprotect(PROT_READ | PROT_WRITE)"],
    [{ accesses: 52 }, "the hardware counted 52 accesses, the guest 51"],
  ])("fail %j", (change, message) => {
    const failures = mmuStressFailedChecks(mmuStressResult({ vcpus: [{ ...vcpu!, ...change }] }));
    expect(failures).toContain(`vCPU 0: ${message}`);
  });

  test("fail an end that leaves something behind", () => {
    const ending = { deletedSlots: [4, 2], unmappedPages: 2, residentPages: 3, leakedPages: 4 };
    expect(mmuStressFailedChecks(mmuStressResult({ ending }))).toEqual([
      "3 pages are mapped at the end instead of 2",
      "4 host pages are still in use after the exit",
    ]);
  });
});

describe("text of mmu-stress", () => {
  test("shows EFAULTs, aging and the end after the selftest's lines", () => {
    const text = mmuStressText(mmuStressResult(), plainStyle);
    expect(text).toMatch(/^EFAULT +30$/m);
    expect(text).toMatch(/^MMU +TDP MMU, ept, A\/D bits on, linux-7\.3$/m);
    expect(text).toMatch(/^aging passes +2, on average 250 ms; 7 pages idle$/m);
    expect(text).toMatch(/^end +slots 4, 2 deleted, 2 pages unmapped, 0 leaked$/m);
    expect(text).toMatch(/^0 +8 +6 +10 +8 +2$/m);
  });

  test("says that nobody aged", () => {
    expect(mmuStressText(mmuStressResult({ aging: null }), plainStyle)).toMatch(/^aging +off$/m);
  });
});

describe("measures of mmu-stress", () => {
  test("are the timed stages, the passes and the waits", () => {
    const names = mmuStressMeasures(mmuStressResult()).map(({ name }) => name);
    expect(names).toEqual([
      "run 1",
      "reset",
      "run 2",
      "mprotect RO",
      "mprotect RW",
      "aging passes",
      "average aging pass",
      "guest fault p50",
      "guest fault p99",
      "mmu_lock wait of vcpus",
      "mmu_lock wait of vmms",
      "mmu_lock wait of agers",
    ]);
    expect(mmuStressMeasures(mmuStressResult({ aging: null }))).toHaveLength(9);
  });
});
