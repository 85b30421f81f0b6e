import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  CorruptGzipError,
  EmptyTraceError,
  MalformedTraceLineError,
  NotGzipError,
  TraceNotAFileError,
  TraceNotFoundError,
  TruncatedGzipError,
} from "../../src/lackey/errors.js";
import { PageNumbering } from "../../src/lackey/page-numbering.js";
import { readLackeyTrace } from "../../src/lackey/read-lackey-trace.js";
import { summarizeTrace } from "../../src/lackey/summarize-trace.js";

const FIXTURE = new URL("../../fixtures/sqlite.lackey.gz", import.meta.url);
const SQLITE = {
  lines: 1_434_000,
  loads: 1_135_416,
  stores: 251_062,
  modifies: 47_522,
  pages: 5_502,
  writtenPages: 5_023,
  footprintBytes: 5_502 * 4096,
  instructionLines: 0,
  bannerLines: 0,
};

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "kvm-age-lackey-"));
});
afterAll(() => rm(directory, { recursive: true }));

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

function summary(path: string): ReturnType<typeof summarizeTrace> {
  return summarizeTrace(readLackeyTrace(path));
}

describe("the bundled trace of sqlite", () => {
  test("has the recorded counts, packed", async () => {
    expect(await summary(FIXTURE.pathname)).toEqual(SQLITE);
  });

  test("has the recorded counts, unpacked", async () => {
    const path = await file("sqlite.lackey", gunzipSync(await readFile(FIXTURE)));
    expect(await summary(path)).toEqual(SQLITE);
  });
});

describe("readLackeyTrace", () => {
  test("knows gzip by its content, not by its name", async () => {
    const path = await file("packed.txt", gzipSync(" L 1000,8\n"));
    expect(await summary(path)).toMatchObject({ lines: 1, loads: 1, pages: 1, writtenPages: 0 });
  });

  test("reads several gzip members one after the other", async () => {
    const members = Buffer.concat([gzipSync(" L 1000,8\n"), gzipSync(" S 2000,8\n")]);
    expect(await summary(await file("members.gz", members))).toMatchObject({ loads: 1, stores: 1, pages: 2 });
  });

  test("counts instruction and banner lines", async () => {
    const path = await file("full.lackey", "==1== x\nI  400000,4\n M 1000,8\nI  400004,4\n");
    expect(await summary(path)).toMatchObject({ lines: 1, modifies: 1, instructionLines: 2, bannerLines: 1 });
  });

  test("can be left early", async () => {
    for await (const batch of readLackeyTrace(FIXTURE.pathname)) {
      expect(batch.pages.length).toBe(65_536);
      break;
    }
  });

  test("names a missing file", async () => {
    await expect(summary(join(directory, "absent"))).rejects.toThrow(TraceNotFoundError);
  });

  test("refuses a directory and a device", async () => {
    await expect(summary(directory)).rejects.toThrow(TraceNotAFileError);
    const device = join(directory, "device");
    await symlink("/dev/null", device);
    await expect(summary(device)).rejects.toThrow("is a device, socket or pipe");
  });

  test.each([
    ["an empty file", "", "0 lines"],
    ["a trace of instructions only", "==1== x\nI  400000,4\n", "2 lines"],
  ])("refuses %s", async (_, content, lines) => {
    const path = await file("empty.lackey", content);
    await expect(summary(path)).rejects.toThrow(EmptyTraceError);
    await expect(summary(path)).rejects.toThrow(lines);
  });

  test("refuses an empty gzip file", async () => {
    await expect(summary(await file("empty.gz", gzipSync("")))).rejects.toThrow(EmptyTraceError);
  });

  test("refuses text that is called .gz, showing its first bytes", async () => {
    const path = await file("text.lackey.gz", " L 1000,8\n");
    await expect(summary(path)).rejects.toThrow(NotGzipError);
    await expect(summary(path)).rejects.toThrow("20 4c; expected 1f 8b");
  });

  test("refuses truncated gzip at every length", async () => {
    const packed = gzipSync(" L 1000,8\n S 2000,8\n");
    for (let length = 2; length < packed.length; length++) {
      const path = await file("short.gz", packed.subarray(0, length));
      await expect(summary(path)).rejects.toThrow(TruncatedGzipError);
    }
  });

  test("says how far a truncated trace went", async () => {
    const packed = await readFile(FIXTURE);
    const path = await file("half.gz", packed.subarray(0, packed.length / 2));
    await expect(summary(path)).rejects.toThrow(/truncated: .* after line [1-9][0-9]{5}/);
  });

  test("refuses damaged gzip", async () => {
    const packed = gzipSync(" L 1000,8\n".repeat(1000));
    packed[packed.length - 6]! ^= 0xff;
    await expect(summary(await file("damaged.gz", packed))).rejects.toThrow(CorruptGzipError);
  });

  test("names the line that is malformed, inside gzip too", async () => {
    const text = `${" L 1000,8\n".repeat(70_000)}oops\n`;
    const path = await file("malformed.gz", gzipSync(text));
    await expect(summary(path)).rejects.toThrow(MalformedTraceLineError);
    await expect(summary(path)).rejects.toThrow('line 70001: "oops"');
  });
});

describe("PageNumbering", () => {
  test("numbers pages by first touch", () => {
    const numbering = new PageNumbering();
    expect([...numbering.renumber(Float64Array.of(900, 5, 900, 2 ** 52 - 1, 5))]).toEqual([0, 1, 0, 2, 1]);
    expect([...numbering.renumber(Float64Array.of(5, 7))]).toEqual([1, 3]);
    expect(numbering.size).toBe(4);
  });
});
