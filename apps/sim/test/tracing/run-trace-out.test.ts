import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { GuestMemoryMap, learnFromNote, parseTraceText, type TraceRecord } from "@kvm-age/trace";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runCommand, startCommand } from "./run-command.js";

const LACKEY = fileURLToPath(new URL("../../fixtures/sqlite.lackey.gz", import.meta.url));
const SMALL = ["run", "access-tracking", "-b", "256K"];

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "kvm-age-trace-out-"));
});
afterEach(() => rm(directory, { recursive: true }));

function notesOf(records: readonly TraceRecord[]): string[] {
  return records.flatMap((record) => (record.kind === "note" ? [record.text] : []));
}

async function readRecords(path: string): Promise<readonly TraceRecord[]> {
  return parseTraceText(await readFile(path, "utf8")).records;
}

describe("--trace-out", () => {
  test("writes a trace that says what made it, which slots there are and which phases ran", async () => {
    const path = join(directory, "out.txt");
    const { code, err } = await runCommand([
      ...SMALL,
      "--trace",
      path,
      "--mmu",
      "shadow",
      "--rule-set",
      "linux-6.15",
    ]);
    expect(code, err).toBe(0);
    const text = await readFile(path, "utf8");
    expect(text).toMatch(/^# tracer: nop\n#\n# entries-in-buffer\/entries-written: (\d+)\/\1 {3}#P:2\n/);
    expect(text).toMatch(/^# written by kvm-age \S+, no kernel: scenario access-tracking/m);
    expect(text).toContain("# rules of linux-6.15, MMU shadow (shadow paging), aging lockless, 1 vCPUs\n");
    const { records, report } = parseTraceText(text);
    expect(report.header?.entriesWritten).toBe(records.length);
    expect(err).toContain(`trace: ${records.length.toLocaleString("en-US")} events in ${path}`);
    const notes = notesOf(records);
    expect(notes[0]).toMatch(/^kvm-age: access-tracking vcpus=1 .*mmu="shadow".*ruleSet="linux-6.15"/);
    expect(notes).toContain("kvm-age: slot id=1 gfn=3fffffe00 hva=7f0000000000 pages=64");
    const memory = new GuestMemoryMap();
    for (const record of records) if (record.kind === "note") learnFromNote(memory, record);
    expect(memory.ranges).toContainEqual({ gfn: 0x3fffffe00, hva: 0x7f0000000000, pages: 64 });
    expect(notes.filter((note) => note.startsWith("kvm-age: Writing to idle memory"))).toEqual([
      "kvm-age: Writing to idle memory begin",
      "kvm-age: Writing to idle memory end",
    ]);
    expect(notes.at(-1)).toBe("kvm-age: end");
    expect(await readdir(directory)).toEqual(["out.txt"]);
  });

  test("events are in order of time, whatever thread they come from", async () => {
    const path = join(directory, "out.txt");
    await runCommand([...SMALL, "-v", "3", "-p", "--agers", "2", "--trace", path]);
    const records = await readRecords(path);
    const times = records.map(({ timestampNs }) => timestampNs);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    const tasks = new Set(records.map(({ comm }) => comm));
    expect([...tasks].sort()).toEqual(["CPU 0/KVM", "CPU 1/KVM", "CPU 2/KVM", "access-tracking", "kvm-age"]);
    const threads = new Set(records.map(({ comm, pid, cpu }) => `${comm} ${pid} ${cpu}`));
    expect(new Set(records.map(({ pid }) => pid)).size).toBe(threads.size);
    expect(new Set(records.map(({ cpu }) => cpu)).size).toBe(threads.size);
  });

  test("the preempt depth of aging is what tells the policies apart", async () => {
    const flagsUnder = async (policy: string): Promise<Set<string>> => {
      const path = join(directory, `${policy}.txt`);
      const { code, err } = await runCommand([...SMALL, "-w", "1", "--policy", policy, "--trace", path]);
      expect(code, err).toBe(0);
      const records = await readRecords(path);
      const marking = notesOf(records).indexOf("kvm-age: Mark memory idle begin");
      expect(marking).toBeGreaterThan(0);
      let aging = false;
      const flags = records.filter((record) => {
        if (record.kind === "note") aging = record.text === "kvm-age: Mark memory idle begin";
        return aging && record.kind === "kvm" && record.name === "kvm_tdp_mmu_spte_changed";
      });
      return new Set(flags.map((record) => record.flags));
    };
    expect(await flagsUnder("lockless")).toEqual(new Set(["...1."]));
    expect(await flagsUnder("locked")).toEqual(new Set(["...2."]));
  });

  test("is gzip if the name ends in .gz", async () => {
    const path = join(directory, "out.txt.gz");
    await runCommand([...SMALL, "--trace-out", path]);
    const { records, report } = parseTraceText(gunzipSync(await readFile(path)).toString());
    expect(report.damaged.count).toBe(0);
    expect(notesOf(records).at(-1)).toBe("kvm-age: end");
  });

  test("--trace-limit keeps the first events and says how many were lost, on each processor", async () => {
    const path = join(directory, "out.txt");
    const { code, err } = await runCommand([...SMALL, "--trace", path, "--trace-limit", "100"]);
    expect(code).toBe(0);
    const { records, report } = parseTraceText(await readFile(path, "utf8"));
    expect(records.filter(({ kind }) => kind === "kvm")).toHaveLength(100);
    expect(report.lost.events).toBeGreaterThan(0);
    expect(report.header?.entriesWritten).toBe(records.length + report.lost.events);
    expect(err).toContain(`${report.lost.events.toLocaleString("en-US")} more than --trace-limit were lost`);
  });

  test("replay has --trace for what it reads", async () => {
    const path = join(directory, "out.txt");
    const { code, err } = await runCommand([
      "run",
      "replay",
      "--trace",
      LACKEY,
      "--age-every",
      "1000",
      "--trace-out",
      path,
    ]);
    expect(code, err).toBe(0);
    expect(new Set((await readRecords(path)).map(({ comm }) => comm))).toContain("kswapd0");
  });

  test("follows a symbolic link, and leaves a device a device", async () => {
    await mkdir(join(directory, "elsewhere"));
    const [link, target] = [join(directory, "link"), join(directory, "elsewhere", "target")];
    await writeFile(target, "old");
    await symlink(target, link);
    await runCommand([...SMALL, "--trace", link]);
    expect(notesOf(await readRecords(target)).at(-1)).toBe("kvm-age: end");
    const { code } = await runCommand([...SMALL, "--trace", "/dev/null"]);
    expect(code).toBe(0);
    expect((await stat("/dev/null")).isCharacterDevice()).toBe(true);
  });

  test("two runs at once into one file: it is one of them, whole", async () => {
    const path = join(directory, "out.txt");
    const ends = await Promise.all([1, 2].map(() => runCommand([...SMALL, "--trace", path])));
    expect(ends.map(({ code }) => code)).toEqual([0, 0]);
    const { records, report } = parseTraceText(await readFile(path, "utf8"));
    expect(report.damaged.count).toBe(0);
    expect(records).toHaveLength(report.header!.entriesInBuffer);
    expect(await readdir(directory)).toEqual(["out.txt"]);
  });

  test.each([
    ["a missing directory", "missing/out.txt", "no temporary directory can be made beside it (ENOENT)"],
    ["a directory", ".", "it is a directory; expected a file"],
    [
      "a file in the place of a directory",
      "file/out.txt",
      "no temporary directory can be made beside it (ENOTDIR)",
    ],
  ])("%s is refused before the run", async (_case, name, reason) => {
    await writeFile(join(directory, "file"), "");
    const { code, out, err } = await runCommand([...SMALL, "--trace", join(directory, name)]);
    expect(code).toBe(2);
    expect(err).toContain(reason);
    expect(out).toBe("");
    expect(await readdir(directory)).toEqual(["file"]);
  });

  test("an output that is the run's other file is refused", async () => {
    const path = join(directory, "out");
    const json = await runCommand([...SMALL, "--trace", path, "--json", path]);
    expect(json.code).toBe(2);
    expect(json.err).toContain("--trace-out cannot be combined with --json: both name the file");
    const input = await runCommand(["run", "replay", "--trace", LACKEY, "--trace-out", LACKEY]);
    expect(input.code).toBe(2);
    expect(input.err).toContain("--trace-out cannot be combined with --trace: both name the file");
  });
});

/** Waits until a thread of the run has filled a buffer and written it out. */
async function spilled(): Promise<void> {
  for (;;) {
    for (const name of await readdir(directory)) {
      const files = await readdir(join(directory, name)).catch(() => []);
      if (files.some((file) => file.endsWith(".events"))) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const ENDLESS = ["run", "replay", "--trace", LACKEY, "--repeat", "1000000", "--age-every", "1"];

test("Ctrl-C ends the run; what was recorded is written and says so, and nothing else is left", async () => {
  const path = join(directory, "out.txt");
  const { child, ended } = startCommand([...ENDLESS, "--trace-out", path]);
  await spilled();
  child.kill("SIGINT");
  const { code, err } = await ended;
  expect(code, err).toBe(130);
  const { records, report } = parseTraceText(await readFile(path, "utf8"));
  expect(report.damaged.count).toBe(0);
  expect(notesOf(records).at(-1)).toBe("kvm-age: interrupted: the run ends here");
  expect(records.length).toBe(report.header!.entriesInBuffer);
  expect(await readdir(directory)).toEqual(["out.txt"]);
});

test("a second Ctrl-C quits at once, and leaves nothing", async () => {
  const { child, ended } = startCommand([...ENDLESS, "--trace-out", join(directory, "out.txt")]);
  await spilled();
  child.kill("SIGINT");
  // Told about the first, it gets the second.
  await new Promise((resolve) => child.stderr!.once("data", resolve));
  child.kill("SIGINT");
  await ended;
  expect((await readdir(directory)).filter((name) => name !== "out.txt")).toEqual([]);
});
