import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { accessTrackingResultSchema } from "../src/results/access-tracking-result.js";
import { compareResultSchema } from "../src/results/compare-result.js";
import { decodeResultSchema } from "../src/results/decode-result.js";
import { mmuStressResultSchema } from "../src/results/mmu-stress-result.js";
import { nestedResultSchema } from "../src/results/nested-result.js";
import { replayResultSchema } from "../src/results/replay-result.js";
import { MMUS } from "../src/vm/mmu-shape.js";

// These run the built command, as a user does.
const CLI = fileURLToPath(new URL("../dist/cli.js", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function start(args: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [CLI, ...args], { env: { ...process.env, NO_COLOR: "1" } });
  const [out, err]: [string[], string[]] = [[], []];
  child.stdout.setEncoding("utf8").on("data", (text: string) => out.push(text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => err.push(text));
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code) => resolve({ code, out: out.join(""), err: err.join("") }));
  });
  return { child, ended };
}

function kvmAge(...args: readonly string[]): Promise<Ended> {
  return start(args).ended;
}

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "kvm-age-cli-"));
});
afterAll(() => rm(directory, { recursive: true }));

describe("wrong usage exits with 2, says one thing on standard error, and nothing on standard output", () => {
  const cases: readonly (readonly [args: string, message: string])[] = [
    ["nonsense", "unknown command 'nonsense'"],
    ["--nonsense", "unknown option '--nonsense'"],
    ["run", "run needs a scenario; allowed: access-tracking, replay, mmu-stress, nested"],
    ["run nonsense -v 2", '"nonsense" is no scenario; allowed: access-tracking, replay, mmu-stress, nested'],
    ["compare nonsense", "allowed: access-tracking, replay, mmu-stress, nested"],
    ["run access-tracking extra", "too many arguments"],
    ["run access-tracking -v 0", "'0' is invalid. Allowed: integers 1 to 64"],
    ["run access-tracking -v 65", "'65' is invalid. Allowed: integers 1 to 64"],
    ["run access-tracking -v", "argument missing"],
    ["run access-tracking -b 12Q", '"12Q" is not a size'],
    ["run access-tracking -b 5000", "--bytes 5000 is outside the multiples of 4096"],
    [
      "run access-tracking --policy none",
      "Allowed choices are locked, tdp-lockless, shadow-lockless, lockless",
    ],
    ["run access-tracking --mmu-mode npt --no-ad", "always have Accessed and Dirty bits"],
    ["run access-tracking --mmu ept", "Allowed choices are tdp, direct, shadow, tdp+nested"],
    [
      "run access-tracking --mmu shadow --mmu-mode npt",
      "--mmu-mode npt cannot be combined with --mmu shadow",
    ],
    ["run nested --mmu shadow", "'shadow' is invalid. Allowed choices are tdp+nested"],
    ["run nested -b 4K", "--bytes 4096 is outside the multiples of 16384"],
    ["run mmu-stress -s 1G", "0 slots of 1 GiB fit into 256 MiB; allowed: 1 to 512"],
    ["run mmu-stress -c 65", "'65' is invalid. Allowed: integers 1 to 64"],
    ["compare nested --a none", "Allowed choices are locked, tdp-lockless, shadow-lockless, lockless"],
    ["run access-tracking --json /", "it is a directory"],
    ["run replay", "required option '--trace <file>'"],
    ["run replay --trace /no/such/trace", "trace /no/such/trace does not exist"],
    ["run replay --trace /", "trace / is a directory"],
    ["run replay --trace x --memory-limit 0%", "at least 4K"],
    ["compare access-tracking --policy locked", "unknown option '--policy'"],
    ["compare access-tracking --runs 0", "integers 1 to 50"],
    ["decode", "missing required argument 'spte'"],
    ["decode 0xZZ", '"0xZZ" is not an SPTE'],
    ["decode --level 6 0", "'6' is invalid. Allowed: integers 1 to 5"],
    ["decode --mode npt --no-ad 0", "only with mode ept"],
    ["schema nonsense", "access-tracking, replay, mmu-stress, nested, compare, decode"],
  ];
  test.each(cases)("kvm-age %s", async (args, message) => {
    const { code, out, err } = await kvmAge(...args.split(" "));
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(message);
    expect(err).toMatch(/^kvm-age: [^\n]*\n(\(Did you mean [^\n]*\n)?$/);
  });

  test("a broken trace, with the line", async () => {
    const path = join(directory, "broken.lackey.gz");
    await writeFile(path, gzipSync(" L 1000,8\n L 10\n"));
    const { code, err } = await kvmAge("run", "replay", "--trace", path);
    expect(code).toBe(2);
    expect(err).toContain(`kvm-age: trace ${path}, line 2: " L 10" is not a lackey line`);
    expect(err).not.toMatch(/^\s+at /m);
  });
});

describe("help", () => {
  const commands = [
    "",
    "run",
    "run access-tracking",
    "run replay",
    "run mmu-stress",
    "run nested",
    "compare",
    "compare replay",
    "compare nested",
    "list",
    "decode",
    "demo",
  ];
  test.each(commands)("kvm-age %s --help has examples first and exit codes last", async (command) => {
    const { code, out } = await kvmAge(...command.split(" ").filter((word) => word !== ""), "--help");
    expect(code).toBe(0);
    expect(out).toMatch(/^Examples:\n {2}\$ kvm-age /);
    expect(out).toMatch(/ {2}130 {2}interrupted \(Ctrl-C\); what there was has been printed\n$/);
  });

  test("without a command goes to standard error, exit code 2", async () => {
    const { code, out, err } = await kvmAge();
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain("Usage: kvm-age");
  });

  test("--version prints the package's", async () => {
    const { version } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8"));
    expect(await kvmAge("--version")).toEqual({ code: 0, out: `${version}\n`, err: "" });
  });
});

describe("data commands", () => {
  test("list names everything that can be chosen", async () => {
    const { code, out } = await kvmAge("list");
    expect(code).toBe(0);
    for (const name of [
      "access-tracking",
      "replay",
      "mmu-stress",
      "nested",
      "locked",
      "tdp-lockless",
      "shadow-lockless",
      "lockless",
      "ept",
      "npt",
      "linux-6.12",
      "linux-6.15",
      "linux-7.3",
    ]) {
      expect(out).toMatch(new RegExp(`^ {2}${name} `, "m"));
    }
    for (const mmu of MMUS) expect(out).toContain(`\n  ${mmu} `);
    const { out: json } = await kvmAge("list", "--json");
    expect(Object.keys(JSON.parse(json))).toEqual(["scenarios", "policies", "mmus", "mmuModes", "ruleSets"]);
  });

  test("decode explains several entries, and as JSON", async () => {
    const { code, out } = await kvmAge("decode", "0x80a0_0000_1234_5f77", "0");
    expect(code).toBe(0);
    expect(out).toContain("0x80a0000012345f77: leaf (ept, linux-7.3)");
    expect(out).toContain("host-physical address 0x12345000");
    expect(out).toContain("0x0000000000000000: non-present");
    const { out: json } = await kvmAge("decode", "--mode", "pae", "--json", "ffffffffffffffff");
    expect(decodeResultSchema.parse(JSON.parse(json)).sptes[0]!.readings[0]!.readAs).toBe("pae, linux-7.3");
  });

  test("schema prints the published file", async () => {
    const { out } = await kvmAge("schema", "replay");
    const published = await readFile(
      new URL("../schemas/replay-result.schema.json", import.meta.url),
      "utf8",
    );
    expect(JSON.parse(out)).toEqual(JSON.parse(published));
  });

  test("a reader that leaves early is no error", async () => {
    const { child, ended } = start(["schema", "compare"]);
    child.stdout!.destroy();
    const { code, err } = await ended;
    expect({ code, err }).toEqual({ code: 0, err: "" });
  });
});

describe("runs", () => {
  const trace = fileURLToPath(new URL("../fixtures/sqlite.lackey.gz", import.meta.url));

  test("access-tracking prints JSON of the published schema and nothing else", async () => {
    const args = [
      "run",
      "access-tracking",
      "-v",
      "2",
      "-b",
      "1M",
      "-w",
      "1",
      "--policy",
      "lockless",
      "--json",
    ];
    const { code, out } = await kvmAge(...args);
    expect(code).toBe(0);
    const result = accessTrackingResultSchema.parse(JSON.parse(out));
    expect(result.phases.length).toBe(7);
    expect(result.provenance.command).toEqual(args);
  });

  test("access-tracking writes JSON to a file beside the selftest's lines", async () => {
    const path = join(directory, "result.json");
    const { out } = await kvmAge("run", "access-tracking", "-b", "1M", "-w", "1", "--json", path);
    const result = accessTrackingResultSchema.parse(JSON.parse(await readFile(path, "utf8")));
    expect(out).toMatch(
      /^Random seed: 0x6b8b4567\nTesting guest mode: PA-bits:ANY, VA-bits:48, {2}4K pages\n/,
    );
    expect(
      result.phases.map(({ name }) => name).every((name) => out.includes(`\n${name.padEnd(30)}: `)),
    ).toBe(true);
  });

  test("too many pages still idle fail the run if that is asked for, though its memory fits into the TLB", async () => {
    const { code, err } = await kvmAge("run", "access-tracking", "-b", "1M", "-w", "0");
    expect(code).toBe(1);
    expect(err).toMatch(/^check failed: vCPU0: Too many pages still idle \([0-9]+ out of 256\)$/m);
  });

  test("they only warn by default where the memory fits into the TLB", async () => {
    const { code, err } = await kvmAge("run", "access-tracking", "-b", "1M");
    expect(code).toBe(0);
    expect(err).toMatch(/fit into its TLB/);
  });

  /** A run with JSON on standard output; fails unless it passed its checks. */
  async function json(...args: readonly string[]): Promise<unknown> {
    const { code, out, err } = await kvmAge("run", ...args, "--json");
    expect({ code, err: err.replace(/^warning: .*\n/gm, "") }).toEqual({ code: 0, err: "" });
    return JSON.parse(out);
  }

  test.each(MMUS)("access-tracking --mmu %s passes its phases, and ages while vCPUs fault", async (mmu) => {
    // Beyond the reach of the TLB, so that pages in use must not stay idle.
    const phases = accessTrackingResultSchema.parse(await json("access-tracking", "--mmu", mmu, "-b", "8M"));
    expect([phases.options.mmu, phases.phases.length]).toEqual([mmu, 7]);
    expect(phases.idleChecks.map(({ pages }) => pages)).toEqual([2048, 2048]);
    const during = accessTrackingResultSchema.parse(
      await json("access-tracking", "--mmu", mmu, "-p", "-b", "8M", "--policy", "shadow-lockless"),
    );
    expect(during.agingDuringFaults!.vcpuWallSeconds).toBeGreaterThan(0);
  });

  test.each(MMUS)("replay --mmu %s replays every access", async (mmu) => {
    const path = join(directory, `${mmu}.lackey`);
    const lines = Array.from(
      { length: 3000 },
      (_, line) => ` ${line % 3 === 0 ? "S" : "L"} ${(line % 700).toString(16)}000,8\n`,
    );
    await writeFile(path, lines.join(""));
    const result = replayResultSchema.parse(
      await json("replay", "--trace", path, "--mmu", mmu, "--age-every", "5", "--reclaim-every", "5"),
    );
    expect([result.options.mmu, result.trace.pages, result.vcpus[0]!.accesses]).toEqual([mmu, 700, 3000]);
    expect(result.faults).toBeGreaterThanOrEqual(700);
  });

  test.each(MMUS)("mmu-stress --mmu %s meets EFAULT on every vCPU and leaves nothing behind", async (mmu) => {
    const result = mmuStressResultSchema.parse(
      await json("mmu-stress", "--mmu", mmu, "-m", "4M", "-s", "1M"),
    );
    expect([result.options.mmu, result.slots.count, result.rendezvous.length]).toEqual([mmu, 4, 6]);
    const counted = result.vcpus.map(({ readOnly, writable }) => readOnly.efaults + writable.efaults);
    expect(result.efaults).toBe(counted.reduce((sum, efaults) => sum + efaults, 0));
    expect(Math.min(...result.vcpus.map(({ readOnly }) => readOnly.efaults))).toBeGreaterThan(0);
    expect(result.ending).toEqual({
      deletedSlots: [4, 2],
      unmappedPages: 128,
      residentPages: 128,
      leakedPages: 0,
    });
    expect(result.invalidationLatency.count).toBeGreaterThanOrEqual(3);
  });

  test("mmu-stress passes with every checking layer, agers on one hva of many gfns", async () => {
    const args = [
      "-m",
      "1M",
      "-s",
      "256K",
      "--agers",
      "2",
      "--policy",
      "tdp-lockless",
      "--mmu",
      "tdp+nested",
    ];
    const result = mmuStressResultSchema.parse(await json("mmu-stress", ...args, "--lockdep", "--sanitizer"));
    expect(result.warnings).toContainEqual(expect.stringContaining("checking layers are on"));
  });

  test.each([
    ["EPT, all MMUs lockless", []],
    ["NPT, the TDP MMU lockless", ["--mmu-mode", "npt", "--policy", "tdp-lockless"]],
    ["EPT without A/D bits, the shadow MMU lockless", ["--no-ad", "--policy", "shadow-lockless"]],
    ["6.15, under mmu_lock", ["--rule-set", "linux-6.15", "--policy", "locked"]],
    ["6.12, as it was", ["--rule-set", "linux-6.12", "--policy", "locked", "--no-ad"]],
    ["every checking layer", ["--lockdep", "--sanitizer"]],
  ])("nested sees what L1 and what L2 uses: %s", async (_name, args) => {
    const size = ["-v", "2", "-b", "256K", "--rounds", "5", "--check-rounds", "1"];
    const result = nestedResultSchema.parse(await json("nested", ...size, ...args));
    // Five passes over four sets of 32 pages, seven of which were used.
    expect(result.accuracy).toEqual({
      trueYoung: 7 * 32,
      falseIdle: 0,
      trueIdle: 13 * 32,
      falseYoung: 0,
      testDisagreements: 0,
    });
  });

  test("compare takes a policy for one MMU only, and says which MMU it was", async () => {
    const size = ["-b", "64K", "--rounds", "2", "--check-rounds", "1", "--runs", "1", "--json"];
    const { code, out } = await kvmAge(
      "compare",
      "nested",
      "--a",
      "tdp-lockless",
      "--b",
      "shadow-lockless",
      ...size,
    );
    expect(code).toBe(0);
    const result = compareResultSchema.parse(JSON.parse(out));
    expect([result.mmu, result.a.label, result.b.label]).toEqual([
      "tdp+nested",
      "tdp-lockless",
      "shadow-lockless",
    ]);
  });

  test("compare prints JSON of the published schema", async () => {
    const { code, out } = await kvmAge(
      "compare",
      "access-tracking",
      "-p",
      "-b",
      "1M",
      "--runs",
      "2",
      "--json",
    );
    expect(code).toBe(0);
    const result = compareResultSchema.parse(JSON.parse(out));
    expect([result.a.label, result.b.label]).toEqual(["locked", "lockless"]);
    expect(result.a.results.map(({ options }) => options.policy)).toEqual(["locked", "locked"]);
    expect(result.metrics.every(({ verdict }) => verdict === "not distinguishable")).toBe(true);
  });

  /** Presses Ctrl-C after a while; a process that had not yet begun to listen is tried again with more patience. */
  async function interrupt(patienceMs: number): Promise<Ended> {
    const { child, ended } = start(["run", "replay", "--trace", trace, "--repeat", "1000000", "--json"]);
    setTimeout(() => child.kill("SIGINT"), patienceMs);
    const end = await ended;
    return end.out === "" && patienceMs < 20_000 ? interrupt(patienceMs * 3) : end;
  }

  test("Ctrl-C ends a run, prints what there is, and exits with 130", async () => {
    const { code, out, err } = await interrupt(1500);
    expect(code).toBe(130);
    expect(err).toContain("interrupted: stopping and printing what there is");
    expect(replayResultSchema.parse(JSON.parse(out)).interrupted).toBe(true);
  });
});
