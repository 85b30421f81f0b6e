import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { modelTrace } from "../../src/bench/model-trace.js";
import { readReplayableTrace } from "../../src/conformance/reading/read-replayable-trace.js";
import { startReplay } from "../../src/conformance/replay/replay-trace.js";
import { OPERATIONS_AT_A_STRETCH, takeSteps } from "../../src/conformance/replay/take-steps.js";
import { traceConformResultSchema } from "../../src/results/trace-conform-result.js";
import { noProgress } from "../../src/terminal/progress.js";
import { kernelTraceText, recordsOf } from "./kit/kernel-traces.js";

// These run the built command, as a user does.
const CLI = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** `kvm-age trace conform` with these arguments. */
function start(args: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [CLI, "trace", "conform", ...args], {
    env: { ...process.env, NO_COLOR: "1" },
  });
  const [out, err]: [string[], string[]] = [[], []];
  child.stdout.setEncoding("utf8").on("data", (text: string) => out.push(text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => err.push(text));
  // A command that needs no more input may end before it has read all.
  child.stdin.on("error", () => {});
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code) => resolve({ code, out: out.join(""), err: err.join("") }));
  });
  return { child, ended };
}

function conform(args: readonly string[], input = ""): Promise<Ended> {
  const { child, ended } = start(args);
  child.stdin!.end(input);
  return ended;
}

const AGE_THP = kernelTraceText("linux-7.3-npt-tdpmmu/age_thp");
/** The first aging call clears W too. */
const CHANGED = AGE_THP.replace("new_spte 10d800ec7", "new_spte 10d800ec5");

let directory: string;
let files: { readonly same: string; readonly changed: string };
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "kvm-age-conform-"));
  files = { same: join(directory, "same.trace.gz"), changed: join(directory, "changed.trace") };
  await writeFile(files.same, gzipSync(AGE_THP));
  await writeFile(files.changed, CHANGED);
});
afterAll(() => rm(directory, { recursive: true }));

describe("kvm-age trace conform", () => {
  test("a trace that matches exits with 0 and says how much was compared and inferred", async () => {
    const { code, out, err } = await conform([files.same]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(/same\.trace\.gz +linux-7\.3, NPT, TDP MMU +61 +\d+ +24 +- +6 +0 +0 +\d+$/m);
  });

  test("one that does not exits with 1 and shows both sides", async () => {
    const { code, out, err } = await conform(["-"], CHANGED);
    expect(code).toBe(1);
    expect(err).toBe("check failed: -: 1 differences between kernel and model\n");
    expect(out).toContain("-, line 86: kvm_tdp_mmu_spte_changed differs in new_spte\n");
    expect(out).toMatch(/kernel .*new_spte=10d800ec5\n.*model .*new_spte=10d800ec7\n +\^{18}\n/);
    expect(out).toContain("new_spte, kernel -> model: W (bits 1) not writable -> writable");
    expect(out).toMatch(/in line 84: agevm-630: kvm_age_hva start=7fadb0e00000 end=7fadb1000000/);
  });

  test("several traces, as JSON", async () => {
    const { code, out } = await conform([files.same, files.changed, "--json"]);
    expect(code).toBe(1);
    const result = traceConformResultSchema.parse(JSON.parse(out));
    expect(result.interrupted).toBe(false);
    expect(result.files.map(({ mismatchCount }) => mismatchCount)).toEqual([0, 1]);
    expect(result.files[0]!.counts.event).toEqual({ compared: 61, matched: 61 });
    expect(result.files[0]!.replayedOperations).toBe(result.files[0]!.operations);
    expect(result.files[1]!.mismatches[0]).toMatchObject({
      line: 86,
      fields: ["new_spte"],
      operation: { line: 84 },
    });
  });

  test("--max bounds what is explained, --kernel says what it is read as", async () => {
    const { code, out } = await conform([files.same, "--kernel", "linux-6.15", "--max", "2"]);
    expect(code).toBe(1);
    expect(out).toContain("linux-6.15, NPT");
    expect(out.match(/differs in/g)).toHaveLength(2);
    expect(out).toMatch(/same\.trace\.gz: \d+ more mismatches\n$/);
  });

  test("events beside the MMU are named, and change nothing", async () => {
    const entry = "           agevm-630     [000] d..2.     6.417900: kvm_entry: vcpu 0, rip 0x1000";
    const exit = "           agevm-630     [000] d..2.     6.417901: sched_switch: x";
    const lines = AGE_THP.split("\n");
    lines.splice(18, 0, `${entry} intr_info 0x00000000 error_code 0x00000000`, exit);
    const { code, out } = await conform(["-"], lines.join("\n"));
    expect(code).toBe(0);
    expect(out).toContain("-: not compared, as they stand beside the MMU: 1 kvm_entry\n");
  });
});

describe("unusable input exits with 2", () => {
  const cases: readonly (readonly [name: string, input: string, message: string])[] = [
    ["nothing", "", "has no events in its 0 lines"],
    [
      "no event of the MMU",
      "   a-1   [000] .....     6.100000: kvm_fast_mmio: fast mmio at gpa 0x1\n",
      "no event of KVM's MMU",
    ],
    ["a late beginning", AGE_THP.split("\n").slice(30).join("\n"), "begin to record before the VM"],
    ["a damaged line", AGE_THP.replace("gfn 40200 level", "gfn level"), "line 65 cannot be read"],
    ["a note that is none", AGE_THP.replace("first=40000 n=1024", "first=40000 n=x"), 'n is "x"'],
  ];
  test.each(cases)("%s", async (_name, input, message) => {
    const { code, out, err } = await conform(["-"], input);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toMatch(/^kvm-age: [^\n]*\n$/);
    expect(err).toContain(message);
  });

  test("but the other traces are replayed", async () => {
    const { code, out, err } = await conform([join(directory, "none"), files.same]);
    expect(code).toBe(2);
    expect(err).toMatch(/^kvm-age: trace .*none does not exist\n$/);
    expect(out).toContain("same.trace.gz");
  });

  test("--json does not write over a trace that stands behind it", async () => {
    const before = await readFile(files.same);
    const { code, out, err } = await conform(["--json", files.same, files.changed]);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain("--json goes behind the traces");
    expect(await readFile(files.same)).toEqual(before);
  });
});

test("Ctrl-C while a trace is read leaves the results of those before it", async () => {
  const { child, ended } = start([files.same, "-", "--json"]);
  // More than a pipe holds: written means that the command reads it, and listens.
  child.stdin!.write(`${AGE_THP}#\n${"#\n".repeat(1 << 19)}`, () => child.kill("SIGINT"));
  const { code, out, err } = await ended;
  expect(code).toBe(130);
  expect(err).toContain("interrupted: stopping and printing what there is");
  const result = traceConformResultSchema.parse(JSON.parse(out));
  expect(result.interrupted).toBe(true);
  expect(result.files.map(({ read }) => read.file)).toEqual([files.same]);
});

test("an interrupted replay stops at the next look, and what it compared counts", async () => {
  const replay = startReplay(recordsOf(modelTrace(4 * OPERATIONS_AT_A_STRETCH, 1)));
  const controller = new AbortController();
  const progress = { update: () => controller.abort(), stop: () => {} };
  const done = await takeSteps(replay, "t", { signal: controller.signal, progress });
  expect(done).toBe(OPERATIONS_AT_A_STRETCH);
  expect(replay.operations.length).toBeGreaterThan(done);
  expect(replay.report.counts.event.compared).toBeGreaterThan(done);
  expect(replay.report.mismatches).toEqual([]);
});

test("a trace with more records than memory is meant for is refused where it has too many", async () => {
  const context = { signal: new AbortController().signal, progress: noProgress };
  const options = { strict: false, overrides: {} };
  await expect(readReplayableTrace(files.same, options, context, 10)).rejects.toThrow(
    /has its 11th record of KVM at line 23; .* takes at most 10: /,
  );
  const replayable = await readReplayableTrace(files.same, options, context, 184);
  expect(replayable?.records).toHaveLength(184);
});
