import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { traceCheckResultSchema } from "../../src/results/trace-check-result.js";
import { LostLines } from "../../src/trace-reports/lost-lines.js";

const CLI = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));
const TRACE = fileURLToPath(
  new URL("../fixtures/kernel-traces/linux-7.3-ept-noad-acctrack/age_thp.trace.gz", import.meta.url),
);
const TEXT = gunzipSync(readFileSync(TRACE)).toString();
/** Aging that also takes MMU-writable away. */
const WRONG = TEXT.replace(
  "90a0000009000ff7 new_spte d0f0000009000af0",
  "90a0000009000ff7 new_spte d070000009000af0",
);
const WRONG_LINE = WRONG.split("\n").findIndex((text) => text.includes("d070000009000af0")) + 1;

const directory = mkdtempSync(join(tmpdir(), "kvm-age-check-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function check(
  args: readonly string[],
  input?: string,
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [CLI, "trace", "check", ...args], {
    encoding: "utf8",
    ...(input === undefined ? {} : { input }),
  });
}

describe("kvm-age trace check", () => {
  test("passes a trace of a kernel", () => {
    const { status, stdout } = check([TRACE]);
    expect([status, stdout]).toEqual([0, expect.stringContaining("no violation in 198 records")]);
  });

  test("shows line, rule and history of a wrong one, and fails", () => {
    const path = join(directory, "wrong.txt");
    writeFileSync(path, WRONG);
    const { status, stdout, stderr } = check([path]);
    expect(status).toBe(1);
    expect(stdout).toContain(`line ${WRONG_LINE}: `);
    expect(stdout).toContain(WRONG.split("\n")[WRONG_LINE - 1]!.trim());
    expect(stdout).toContain("the entry before:");
    expect(stdout).toContain("kvm_mmu_set_spte 0x90a0000009000ff7");
    expect(stderr).toContain("check failed: a line breaks a rule of the kernel");
  });

  test("prints JSON that keeps its schema, of standard input", () => {
    const { status, stdout } = check(["-", "--json"], WRONG);
    const result = traceCheckResultSchema.parse(JSON.parse(stdout));
    expect([status, result.violationCount]).toEqual([1, 1]);
    expect(result.violations[0]).toMatchObject({
      line: WRONG_LINE,
      entry: { asId: 0, gfn: "0x40000", level: 2 },
    });
    expect(result.violations[0]!.text).toContain("d070000009000af0");
  });

  test("counts what --max leaves out", () => {
    const { status, stdout } = check(["-", "--max", "0"], WRONG);
    expect([status, stdout]).toEqual([1, expect.stringContaining("1 more")]);
  });

  test("learns anew after lost events", () => {
    const lines = TEXT.split("\n");
    const at = lines.findIndex((text) => text.includes("new_spte d0f0000009000af0"));
    const gap = [...lines.slice(0, at), "CPU:0 [LOST 3 EVENTS]", ...lines.slice(at + 1)].join("\n");
    const result = traceCheckResultSchema.parse(JSON.parse(check(["-", "--json"], gap).stdout));
    expect([result.violationCount, result.unjudgedGaps]).toEqual([0, 1]);
    const hidden = [...lines.slice(0, at), ...lines.slice(at + 1)].join("\n");
    expect(check(["-"], hidden).status).toBe(1);
  });
});

describe("LostLines", () => {
  test("finds the lines that say so, however the text is cut", () => {
    const text = "a\nCPU:1 [LOST 12 EVENTS]\nb\nCPU:0 [4 EVENTS DROPPED]\nCPU:x\nCPU:2 [LOST EVENTS]\n";
    for (const size of [1, 2, 7, 1000]) {
      const lost = new LostLines();
      for (let start = 0; start < text.length; start += size)
        lost.push(Buffer.from(text.slice(start, start + size)));
      expect([lost.takeThrough(1), lost.takeThrough(4), lost.takeThrough(6)]).toEqual([0, 2, 1]);
    }
  });
});
