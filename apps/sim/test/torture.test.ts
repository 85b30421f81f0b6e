import { describe, expect, it } from "vitest";
import type { TortureOptions } from "../src/torture/torture-options.js";

// Against the built files: real threads load them. Longer runs: `npm run torture`.
const built = new URL("../dist/torture.js", import.meta.url).href;
const { defaultTortureOptions, drawTortureOptions, runTorture } = (await import(
  built
)) as typeof import("../src/torture/main.js");

/** Fixed, so that a red run can be repeated; `npm run torture -- --seed N` takes others. */
const SEED = 20_261_122;

const SMALL: TortureOptions = { ...defaultTortureOptions, accesses: 2_000, guestPages: 512, seed: SEED };

const MODES: [string, Partial<TortureOptions>][] = [
  ["TDP MMU, no A/D bits, lockless", { adBits: false }],
  [
    "TDP MMU, NPT, huge pages, under mmu_lock",
    { mmuMode: "npt", hugePages: true, guestPages: 1024, policy: "locked" },
  ],
  ["direct shadow pages, no A/D bits, lockless", { mmu: "direct", adBits: false }],
  ["guest paging, lockless", { mmu: "shadow" }],
  [
    "guest paging of Linux 6.15, huge pages, no zap of everything",
    {
      mmu: "shadow",
      ruleSet: "linux-6.15",
      hugePages: true,
      guestPages: 1024,
      tuning: { slotZapAll: false, dirtyLogManualProtect: true },
    },
  ],
  ["nested, EPT without A/D bits, lockless", { mmu: "tdp+nested", adBits: false }],
  [
    "nested, NPT, huge pages, only the TDP MMU lockless",
    {
      mmu: "tdp+nested",
      mmuMode: "npt",
      hugePages: true,
      guestPages: 1024,
      policy: "tdp-lockless",
      tuning: { slotZapAll: false, nxHugePages: true },
    },
  ],
];

describe("torture on real threads", () => {
  it.each(MODES)(`%s (seed ${SEED})`, async (_name, mode) => {
    const result = await runTorture({ ...SMALL, ...mode });
    expect(result.violations).toEqual([]);
    expect(result.reads).toBeGreaterThan(800);
    expect(result.writes).toBeGreaterThan(200);
  });

  const checks = { lockdep: true, sanitizer: true, complianceWatch: true, accesses: 300, guestPages: 256 };

  it.each(["tdp", "direct", "shadow", "tdp+nested"] as const)(
    `%s with lockdep, the address sanitizer and the compliance watch (seed ${SEED})`,
    async (mmu) => {
      const result = await runTorture({ ...SMALL, ...checks, mmu });
      expect(result.violations).toEqual([]);
      expect(result.reads + result.writes).toBeGreaterThan(300);
    },
  );

  it("draws every shape and both kinds of policy within eight seeds, and the same for the same seed", () => {
    const drawn = Array.from({ length: 8 }, (_, seed) => drawTortureOptions(seed));
    expect(new Set(drawn.map(({ mmu }) => mmu)).size).toBe(4);
    const hasLockless = drawn.some(({ policy }) => policy.includes("lockless"));
    expect(
      hasLockless && drawn.some(({ policy }) => policy === "locked" || policy === "shadow-lockless"),
    ).toBe(true);
    expect(drawTortureOptions(5)).toEqual(drawn[5]);
  });
});
