import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LegalityChecker, openIdentifiedTrace, openTrace, readTrace } from "@kvm-age/trace";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MMUS, type Mmu } from "../../src/vm/mmu-shape.js";
import { runCommand } from "../tracing/run-command.js";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "kvm-age-recorded-"));
});
afterAll(() => rm(directory, { recursive: true }));

/** Scenarios small enough to be run under everything: an aged VM that is stressed, and one with a nested guest. */
const SCENARIOS: Readonly<Record<Mmu, readonly string[]>> = {
  tdp: ["mmu-stress", "-m", "1M", "-s", "512K", "-c", "2", "--agers", "1"],
  direct: ["mmu-stress", "-m", "1M", "-s", "512K", "-c", "2", "--agers", "1"],
  shadow: ["mmu-stress", "-m", "1M", "-s", "512K", "-c", "2", "--agers", "1"],
  "tdp+nested": ["nested", "-v", "2", "-b", "128K"],
};

interface Paging {
  readonly args: readonly string[];
  readonly mode: "ept" | "npt" | "shadow";
  readonly adBits: boolean;
}

const EPT: Paging = { args: ["--mmu-mode", "ept"], mode: "ept", adBits: true };
const EPT_WITHOUT_AD: Paging = { args: ["--mmu-mode", "ept", "--no-ad"], mode: "ept", adBits: false };
const NPT: Paging = { args: ["--mmu-mode", "npt"], mode: "npt", adBits: true };
const SHADOW: Paging = { args: [], mode: "shadow", adBits: true };

function pagingsOf(mmu: Mmu): readonly Paging[] {
  return mmu === "shadow" ? [SHADOW] : [EPT, EPT_WITHOUT_AD, NPT];
}

/** What a trace of a rule set may be taken for: 6.12 and 6.15 print alike, and `locked` is what 6.12 did. */
const KERNELS = {
  "linux-6.12": ["linux-6.12", "linux-6.15"],
  "linux-6.15": ["linux-6.12", "linux-6.15"],
  "linux-7.3": ["linux-7.3"],
} as const;

interface Case {
  readonly mmu: Mmu;
  readonly paging: Paging;
  readonly ruleSet: keyof typeof KERNELS;
  readonly policy: "locked" | "lockless";
}

/** Every kernel as it aged, and 7.3 with a lock as well. */
const KERNEL_POLICIES = [
  { ruleSet: "linux-7.3", policy: "lockless" },
  { ruleSet: "linux-7.3", policy: "locked" },
  { ruleSet: "linux-6.15", policy: "lockless" },
  { ruleSet: "linux-6.12", policy: "locked" },
] as const;

const ALL_CASES: readonly Case[] = MMUS.flatMap((mmu) =>
  pagingsOf(mmu).flatMap((paging) => KERNEL_POLICIES.map((kernel) => ({ mmu, paging, ...kernel }))),
);

/** The matrix takes minutes; every MMU and paging once, and every kernel where A/D bits are software, take a quarter of that. */
const CASES = ALL_CASES.filter(({ paging, ruleSet, policy }) => {
  if (process.env["KVM_AGE_TEST_MATRIX"] !== undefined) return true;
  return (ruleSet === "linux-7.3" && policy === "lockless") || (!paging.adBits && ruleSet !== "linux-7.3");
});

/** Reads a trace as `kvm-age trace` does, and judges it. */
async function judge(path: string) {
  const reader = readTrace(openTrace(path));
  const { identity, batches } = await openIdentifiedTrace(reader);
  const checker = new LegalityChecker(identity);
  for await (const batch of batches) {
    for (const record of batch) checker.observe(record);
  }
  return { identity, report: reader.report, legality: checker.finish() };
}

describe("a recorded run is a trace like a kernel's: readable, known for what it is, and legal", () => {
  test.each(CASES)("$mmu $paging.args $ruleSet $policy", async ({ mmu, paging, ruleSet, policy }) => {
    const path = join(directory, "trace.txt");
    const options = ["--mmu", mmu, ...paging.args, "--rule-set", ruleSet, "--policy", policy];
    const { code, err } = await runCommand(["run", ...SCENARIOS[mmu], ...options, "--trace-out", path]);
    expect(code, err).toBe(0);
    const { identity, report, legality } = await judge(path);
    expect(report.damaged).toEqual({ count: 0, first: [] });
    expect([...report.unknownEvents]).toEqual([]);
    expect(report.records).toBe(report.header!.entriesInBuffer);
    expect(KERNELS[ruleSet]).toContain(identity.kernel);
    expect(identity).toMatchObject({ mode: paging.mode, adBits: paging.adBits });
    expect(identity.tdpMmu).toBe(mmu === "tdp" || mmu === "tdp+nested");
    expect(legality.violations).toEqual([]);
    expect(legality.transitions).toBeGreaterThan(100);
  });
});
