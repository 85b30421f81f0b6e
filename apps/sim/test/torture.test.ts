import { describe, expect, it } from "vitest";
import type { TortureOptions } from "../src/torture/run-torture.js";

// Against the built files: real threads load them. Longer runs: `npm run torture`.
const built = new URL("../dist/torture.js", import.meta.url).href;
const { defaultTortureOptions, runTorture } = (await import(
  built
)) as typeof import("../src/torture/main.js");

/** Fixed, so that a red run can be repeated; `npm run torture -- --seed N` takes others. */
const SEED = 20_261_122;

const MODES: [string, Partial<TortureOptions>][] = [
  ["EPT, A/D bits, lockless", {}],
  ["EPT, no A/D bits, lockless", { adBits: false }],
  ["EPT of Linux 6.15, huge pages", { ruleSet: "linux-6.15", hugePages: true }],
  ["NPT, lockless", { mmuMode: "npt" }],
  ["EPT, no A/D bits, aging under mmu_lock", { adBits: false, policy: "locked" }],
];

describe("torture on real threads", () => {
  it.each(MODES)(`%s (seed ${SEED})`, async (_name, mode) => {
    const result = await runTorture({ ...defaultTortureOptions, ...mode, accesses: 20_000, seed: SEED });
    expect(result.violations).toEqual([]);
    expect(result.reads + result.writes).toBeGreaterThan(10_000);
  });

  it(`with lockdep and the address sanitizer (seed ${SEED})`, async () => {
    const checks = { lockdep: true, sanitizer: true, accesses: 3_000, guestPages: 1024, adBits: false };
    const result = await runTorture({ ...defaultTortureOptions, ...checks, seed: SEED });
    expect(result.violations).toEqual([]);
    expect(result.reads + result.writes).toBeGreaterThan(1_000);
  });
});
