import { describe, expect, test } from "vitest";
import { accessTrackingFailedChecks } from "../../src/scenarios/access-tracking-checks.js";
import { accessTrackingLines } from "../../src/scenarios/access-tracking-lines.js";
import { accessTrackingMeasures } from "../../src/scenarios/access-tracking-measures.js";
import { accessTrackingText } from "../../src/scenarios/access-tracking-text.js";
import { replayMeasures } from "../../src/scenarios/replay-measures.js";
import { replayText } from "../../src/scenarios/replay-text.js";
import { plainStyle } from "../../src/terminal/style.js";
import { accessTrackingResult, agingDuringFaultsResult, LATENCY, replayResult } from "../results/results.js";

/** What the selftest prints for 1 vCPU with 1 GiB and a MAXPHYADDR of 46. */
const SELFTEST_OUTPUT = `Random seed: 0x6b8b4567
Testing guest mode: PA-bits:ANY, VA-bits:48,  4K pages
guest physical test memory: [0x3fffbffff000, 0x3ffffffff000)

Populating memory             : 0.798882357s
Writing to populated memory   : 0.013512210s
Reading from populated memory : 0.009871022s
Mark memory idle              : 3.003939277s
Writing to idle memory        : 0.061203948s
Mark memory idle              : 3.060128175s
Reading from idle memory      : 0.058811327s`;

const tooMany = { phaseIndex: 5, vcpu: 3, pages: 1000, stillIdlePages: 100, noPfnPages: 0 };

describe("lines of access_tracking_perf_test", () => {
  test("equal the selftest's output byte for byte", () => {
    expect(accessTrackingLines(accessTrackingResult()).join("\n")).toBe(SELFTEST_OUTPUT);
  });

  test("with aging during faults equal those of version 8 of the series", () => {
    expect(accessTrackingLines(agingDuringFaultsResult()).slice(4)).toEqual([
      "Running lru_gen benchmark...",
      "Populating memory (async)     ",
      "vcpu wall time                : 19.500000000s",
      "lru_gen avg pass duration     : 0.527091929s, (passes:35, total:18.448217547s)",
    ]);
  });

  test("warn in the phase where pages stayed idle, when asked to warn only", () => {
    const result = accessTrackingResult({ idleChecks: [tooMany] });
    const warning =
      "WARNING: vCPU3: Too many pages still idle (100 out of 1000), this will affect performance results.";
    expect(accessTrackingLines(result)).not.toContain(warning);
    const warnOnly = { ...result, options: { ...result.options, tooManyIdle: "warn" as const } };
    const lines = accessTrackingLines(warnOnly);
    expect(lines[lines.indexOf(warning) + 1]).toBe("Mark memory idle              : 3.060128175s");
  });
});

describe("checks of access-tracking", () => {
  test("pass below a tenth idle, fail from there", () => {
    expect(accessTrackingFailedChecks(accessTrackingResult())).toEqual([]);
    const almost = { ...tooMany, stillIdlePages: 99 };
    expect(accessTrackingFailedChecks(accessTrackingResult({ idleChecks: [almost] }))).toEqual([]);
    expect(accessTrackingFailedChecks(accessTrackingResult({ idleChecks: [tooMany] }))).toEqual([
      "vCPU3: Too many pages still idle (100 out of 1000)",
    ]);
  });

  test("fail on a hundredth without page frame, even when idle pages only warn", () => {
    const check = { ...tooMany, noPfnPages: 10 };
    const result = accessTrackingResult({ idleChecks: [check] });
    const warning = { ...result, options: { ...result.options, tooManyIdle: "warn" as const } };
    expect(accessTrackingFailedChecks(warning)).toEqual(["vCPU 3: No PFN for 10 out of 1000 pages."]);
  });
});

describe("texts", () => {
  test("of access-tracking begin with the selftest's lines, then an empty line", () => {
    const text = accessTrackingText(accessTrackingResult(), plainStyle);
    expect(text.startsWith(`${SELFTEST_OUTPUT}\n\n`)).toBe(true);
    expect(text).toMatch(/^guest fault +1,000 +1\.5 µs +1 µs +2 µs +30 µs +40 µs +50 µs$/m);
    expect(text).toMatch(/^vcpu +mmu_lock +read +10 +700 ns/m);
    expect(text).toMatch(/^guest accesses +2,000, TLB hits 50\.00 %$/m);
    expect(text).not.toMatch(/[ \t]$/m);
  });

  test.each([
    ["tdp", "TDP MMU, ept, A/D bits on, linux-7.3"],
    ["direct", "shadow MMU, direct (tdp_mmu=N), ept, A/D bits on, linux-7.3"],
    ["shadow", "shadow paging of the guest's own tables, A/D bits on, linux-7.3"],
    ["tdp+nested", "TDP MMU for L1, shadowed ept tables for L2, A/D bits on, linux-7.3"],
  ] as const)("say which MMU: %s", (mmu, words) => {
    const [tracking, replayed] = [accessTrackingResult(), replayResult()];
    const texts = [
      accessTrackingText({ ...tracking, options: { ...tracking.options, mmu } }, plainStyle),
      replayText({ ...replayed, options: { ...replayed.options, mmu } }, plainStyle),
    ];
    for (const text of texts)
      expect(text.split("\n").map((line) => line.replace(/ +/g, " "))).toContain(`MMU ${words}`);
  });

  test("show invalidations where there were any, in every scenario", () => {
    const invalidationLatency = { ...LATENCY, count: 3 };
    expect(accessTrackingText(accessTrackingResult({ invalidationLatency }), plainStyle)).toMatch(
      /^invalidation +3 /m,
    );
    const measures = accessTrackingMeasures(accessTrackingResult({ invalidationLatency }));
    expect(measures.map(({ name }) => name)).toContain("invalidation p99");
  });

  test("of replay show aging, accuracy, reclaim and every vCPU", () => {
    const text = replayText(replayResult(), plainStyle);
    expect(text).toMatch(/^aging passes +3, one every 50 ms$/m);
    expect(text).toMatch(/^wrongly called idle +2 of 8 reports \(25\.00 %\)$/m);
    expect(text).toMatch(/^reclaimed +5 pages, 7 kept as young, every 20 ms, limit 1 pages$/m);
    expect(text).toMatch(/^1 +2\.5 s +3 +1 +2 +0$/m);
    expect(text).not.toMatch(/^invalidation/m);
  });

  test("of replay without reclaim say so", () => {
    const result = replayResult();
    const text = replayText({ ...result, reclaim: { ...result.reclaim, cadenceMs: 0 } }, plainStyle);
    expect(text).toMatch(/^reclaim +off$/m);
  });
});

describe("measures", () => {
  const named = (measures: readonly { name: string; value: number }[]): Record<string, number> =>
    Object.fromEntries(measures.map(({ name, value }) => [name, value]));

  test("of access-tracking tell the two marking phases apart and add up modes of mmu_lock", () => {
    const measures = named(accessTrackingMeasures(accessTrackingResult()));
    expect(measures).toMatchObject({
      "Mark memory idle": 3.003939277,
      "Mark memory idle (2)": 3.060128175,
      "guest fault p99": 30_000,
      "mmu_lock wait of vcpus": 1000,
      "mmu_lock wait of agers": 50,
    });
  });

  test("of aging during faults are wall time, passes and their average", () => {
    const measures = named(accessTrackingMeasures(agingDuringFaultsResult()));
    expect(measures).toMatchObject({
      "vcpu wall time": 19.5,
      "aging passes": 35,
      "average aging pass": 0.527091929,
    });
    expect(measures).not.toHaveProperty("Populating memory");
  });

  test("have no average of no passes", () => {
    const result = agingDuringFaultsResult();
    const aging = { ...result.agingDuringFaults!, passes: 0, averagePassSeconds: 0 };
    expect(named(accessTrackingMeasures({ ...result, agingDuringFaults: aging }))).not.toHaveProperty(
      "average aging pass",
    );
  });

  test("of replay take the slowest vCPU and leave out what was not recorded", () => {
    const measures = named(replayMeasures(replayResult()));
    expect(measures).toMatchObject({
      "replay time": 2.5,
      "wrongly called idle": 0.25,
      "mmu_lock wait of reclaimers": 0,
    });
    expect(measures).not.toHaveProperty("invalidation p99");
  });
});
