import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { formatTraceRecord, parseTraceText, type TraceForm, traceHeader } from "@kvm-age/trace";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { kernelTrace, textOf } from "./kit/kernel-traces.js";
import { runHere } from "./kit/run-here.js";

// These run the built command, as a user does.
const CLI = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function start(args: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [CLI, "trace", ...args], { env: { ...process.env, NO_COLOR: "1" } });
  const [out, err]: [string[], string[]] = [[], []];
  child.stdout.setEncoding("utf8").on("data", (text: string) => out.push(text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => err.push(text));
  child.stdin.on("error", () => {});
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code) => resolve({ code, out: out.join(""), err: err.join("") }));
  });
  return { child, ended };
}

function withInput(input: Uint8Array, ...args: readonly string[]): Promise<Ended> {
  const { child, ended } = start(args);
  child.stdin!.end(input);
  return ended;
}

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "kvm-age-trace-cli-"));
});
afterAll(() => rm(directory, { recursive: true }));

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

const COMMANDS = ["summary", "heatmap", "decode", "page"];
const HEADER = traceHeader({ form: "trace" }, { entriesInBuffer: 0, entriesWritten: 0, cpus: 1 });
const SMALL = kernelTrace("linux-7.3-npt-tdpmmu/age_thp");

/** Arguments of a command on a file. */
function on(command: string, path: string): string[] {
  return ["trace", command, path, ...(command === "page" ? ["gfn:1"] : [])];
}

describe.each(COMMANDS)("trace %s: input that is no trace ends with exit code 2 and one line", (command) => {
  async function refused(path: string, message: string | RegExp): Promise<void> {
    const { code, out, err } = await runHere(...on(command, path));
    expect({ code, out: command === "decode" ? "" : out }).toEqual({ code: 2, out: "" });
    expect(err).toMatch(message);
    expect(err).toMatch(/^kvm-age: [^\n]*\n$/);
  }

  test("a file that is not there", () => refused("/no/such/trace", /trace \/no\/such\/trace does not exist/));
  test("a directory", () => refused(directory, /is a directory; expected a file/));
  test("an empty file", async () => refused(await file("empty", ""), /has no events in its 0 lines/));
  test("a header alone", async () => refused(await file("header", HEADER), /has no events/));
  test("another text", async () =>
    refused(
      await file("poem", "Shall I compare thee\nto a summer's day?\n"),
      /has no events in its 2 lines; .*line 1/,
    ));
  test("a recording of trace-cmd", async () =>
    refused(await file("trace.dat", Buffer.from("\x17\x08\x44tracing6\0", "latin1")), /`trace-cmd report`/));
  test("binary data", async () =>
    refused(await file("binary", new Uint8Array([1, 2, 0, 3, 4, 0])), /binary data/));
  test("a mode that has no such format", async () => {
    const { code, err } = await runHere(...on(command, SMALL.path), "--mode", "npt", "--no-ad");
    expect(code).toBe(2);
    expect(err).toMatch(/^kvm-age: adBits false with mode npt is not possible here/);
  });
});

describe("damage", () => {
  const text = textOf(SMALL);
  const damaged = text.replace(/address 0x0000000040000000/, "address 0xnonsense");

  test("is told and passed over", async () => {
    const path = await file("damaged.txt", damaged);
    const { code, out, err } = await runHere("trace", "summary", path);
    expect(code).toBe(0);
    expect(err).toMatch(/^warning: line \d+ could not be read: expected .*\n$/);
    expect(out).toMatch(/lines +196, of which 1 could not be read/);
    const decoded = await runHere("trace", "decode", path);
    expect(decoded.out).toContain("address 0xnonsense");
  });

  test("ends the command with --strict", async () => {
    const { code, out, err } = await runHere(
      "trace",
      "summary",
      await file("strict.txt", damaged),
      "--strict",
    );
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toMatch(/^kvm-age: line \d+: expected /);
  });

  test("of the compression: what could be read is shown, exit code 2", async () => {
    const packed = gzipSync(textOf(kernelTrace("linux-7.3-npt-tdpmmu/age4k")));
    const path = await file("cut.gz", packed.subarray(0, packed.length / 2));
    const { code, out, err } = await runHere("trace", "summary", path);
    expect(code).toBe(2);
    expect(out).toMatch(/\(not all of it\)/);
    expect(err).toMatch(/^kvm-age: the compressed trace ends too early or is damaged/m);
  });

  test("lost events are told", async () => {
    const path = await file("lost.txt", text.replace("\n", "\nCPU:1 [LOST 42 EVENTS]\n"));
    const { code, err } = await runHere("trace", "summary", path);
    expect(code).toBe(0);
    expect(err).toBe("warning: the trace says that 42 events were lost: what follows is incomplete\n");
  });
});

describe("the same events in another form give the same summary", () => {
  const { records } = parseTraceText(textOf(kernelTrace("linux-7.3-ept-noad-acctrack/age4k")));

  function summaryWithout(json: string): unknown {
    const { provenance, read, identity, ...rest } = JSON.parse(json);
    return { ...rest, identity: { ...identity, evidence: [] } };
  }

  test.each(["trace-cmd", "perf"] as const)("%s, plain and gzip", async (form: TraceForm) => {
    const original = await runHere(
      "trace",
      "summary",
      kernelTrace("linux-7.3-ept-noad-acctrack/age4k").path,
      "--json",
    );
    const text = records.map((record) => formatTraceRecord(record, { kernel: "linux-7.3", form })).join("\n");
    const [plain, packed] = [
      await file(`${form}.txt`, `${text}\n`),
      await file(`${form}.gz`, gzipSync(text)),
    ];
    for (const path of [plain, packed]) {
      const { code, out, err } = await runHere("trace", "summary", path, "--json");
      expect({ code, err }).toEqual({ code: 0, err: "" });
      expect(summaryWithout(out)).toEqual(summaryWithout(original.out));
    }
  });
});

describe("standard input", () => {
  test.each(COMMANDS)("trace %s reads it, packed or not", async (command) => {
    const packed = await readFile(SMALL.path);
    const [, ...args] = on(command, "-");
    const [fromGzip, fromText] = [
      await withInput(packed, ...args),
      await withInput(gunzipSync(packed), ...args),
    ];
    expect(fromGzip).toMatchObject({ code: 0, err: "" });
    expect(fromText).toEqual(fromGzip);
    expect(fromGzip.out.length).toBeGreaterThan(100);
  });

  test("that never ends is left by Ctrl-C, and what there was has been printed", async () => {
    const { child, ended } = start(["decode", "-"]);
    // More events than are read ahead, so that there is output, and no end.
    const text = textOf(kernelTrace("linux-7.3-nonpt/st_access_v1_1M_nolru"));
    for (let times = 0; times < 3; times++) child.stdin!.write(text);
    child.stdout!.once("data", () => child.kill("SIGINT"));
    const { code, out, err } = await ended;
    expect(code).toBe(130);
    expect(err).toContain("interrupted: stopping and printing what there is");
    expect(out.startsWith("# tracer: nop\n")).toBe(true);
  });

  test("a reader that leaves early is no error", async () => {
    const { child, ended } = start([
      "decode",
      kernelTrace("linux-7.3-npt-tdpmmu/st_access_v1_1M_nolru").path,
    ]);
    child.stdout!.once("data", () => child.stdout!.destroy());
    const { code, err } = await ended;
    expect({ code, err }).toEqual({ code: 0, err: "" });
  });
});

describe("wrong usage", () => {
  test.each([
    ["nonsense", "unknown command 'nonsense'"],
    ["summary", "missing required argument 'file'"],
    ["summary x --kernel linux-5.0", "Allowed choices are linux-6.12, linux-6.15, linux-7.3"],
    ["summary x --mode pae", "Allowed choices are ept, npt, shadow"],
    ["summary x --slot 1:2", '--slot "1:2" is not gfn:hva:pages'],
    ["summary x --slot 1:fff:1", '--slot "1:fff:1" is not gfn:hva:pages'],
    ["page x", "missing required argument 'page'"],
    ["heatmap x --rows 0", "Allowed: integers 1 to 512"],
    ["heatmap x --from soon", "Allowed: seconds of the trace clock"],
    ["heatmap x --from 2 --to 1", "--from 2 is not before --to 1"],
    ["summary x --json /", "it is a directory"],
  ])("kvm-age trace %s: one line, exit code 2", async (args, message) => {
    const { code, out, err } = await runHere("trace", ...args.split(" "));
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(message);
    expect(err).toMatch(/^kvm-age: [^\n]*\n(\(Did you mean [^\n]*\n)?$/);
  });

  test.each([[], ["summary"], ["page"], ["heatmap"], ["decode"]])(
    "help of trace %s has examples and exit codes",
    async (...command) => {
      const { code, out } = await runHere("trace", ...command, "--help");
      expect(code).toBe(0);
      expect(out).toMatch(/^Examples:\n {2}\$ /);
      expect(out).toMatch(/ {2}130 {2}interrupted \(Ctrl-C\); what there was has been printed\n$/);
    },
  );
});

describe("what a command must not lose", () => {
  test("a trace behind --json, or one that a drawing would be written over", async () => {
    const trace = await file("kept.txt", textOf(SMALL));
    const before = await readFile(trace);
    for (const args of [
      ["summary", trace, "--json", trace],
      ["check", trace, "--json", trace],
      ["heatmap", trace, "--svg", trace],
      ["heatmap", trace, "--html", join(directory, ".", "kept.txt")],
    ]) {
      const { code, out, err } = await runHere("trace", ...args);
      expect({ code, out }).toEqual({ code: 2, out: "" });
      expect(err).toMatch(/is it a trace\?|is the trace itself/);
    }
    expect(await readFile(trace)).toEqual(before);
  });

  test("what a pipe gave until Ctrl-C: it is judged", async () => {
    const { child, ended } = start(["check", "-"]);
    // More than a pipe holds: written means that the command reads it, and listens.
    child.stdin!.write(`${textOf(SMALL)}${"#\n".repeat(1 << 19)}`, () => child.kill("SIGINT"));
    const { code, out } = await ended;
    expect(code).toBe(130);
    expect(out).toMatch(/no violation|0 violations|breaks no rule/i);
  });

  test("the beginning of a trace, overwritten in the ring buffer: it says so", async () => {
    const rest = textOf(SMALL).replace(/^#.*\n/gm, "");
    const header = traceHeader({ form: "trace" }, { entriesInBuffer: 90, entriesWritten: 1_000, cpus: 1 });
    const { code, err } = await runHere("trace", "summary", await file("wrapped", header + rest));
    expect(code).toBe(0);
    expect(err).toContain("910 of 1,000 events were overwritten in the ring buffer");
  });
});
