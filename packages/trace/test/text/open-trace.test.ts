import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import {
  BinaryTraceError,
  openTrace,
  parseTraceText,
  readTrace,
  TruncatedTraceError,
} from "../../src/index.js";
import { traceFixture } from "../support/trace-fixture.js";

const folder = mkdtempSync(join(tmpdir(), "kvm-age-trace-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** What can be read of a file, and the error that ended it. */
async function textOf(path: string): Promise<{ text: string; error: unknown }> {
  const chunks: Uint8Array[] = [];
  let error: unknown = null;
  try {
    for await (const chunk of openTrace(path)) chunks.push(chunk);
  } catch (thrown) {
    error = thrown;
  }
  return { text: Buffer.concat(chunks).toString(), error };
}

const gzipped = new URL("../fixtures/linux-7.3-npt-tdpmmu/age_thp.trace.gz", import.meta.url);
const text = traceFixture("linux-7.3-npt-tdpmmu/age_thp.trace.gz");
/** Some megabytes: many chunks on both sides of the compression. */
const long = text.repeat(200);

describe("openTrace", () => {
  it.each([
    ["plain text", text],
    ["gzip", readFileSync(gzipped)],
    ["gzip of several members", Buffer.concat([gzipSync(text.slice(0, 1000)), gzipSync(text.slice(1000))])],
  ])("reads %s", async (name, content) => {
    expect(await textOf(file(name.replaceAll(" ", "-"), content))).toEqual({ text, error: null });
  });

  it("reads long files, and very short ones", async () => {
    expect(await textOf(file("long.gz", gzipSync(long)))).toEqual({ text: long, error: null });
    expect(await textOf(file("long", long))).toEqual({ text: long, error: null });
    expect(await textOf(file("empty", ""))).toEqual({ text: "", error: null });
    expect(await textOf(file("short", "#"))).toEqual({ text: "#", error: null });
  });

  it("gives what can be read of gzip that is cut off, then an error that says how much", async () => {
    const packed = gzipSync(long);
    for (const share of [0.05, 0.3, 0.9]) {
      const { text: read, error } = await textOf(file("cut.gz", packed.subarray(0, packed.length * share)));
      expect(read.length).toBeGreaterThan(long.length * (share - 0.1));
      expect(long.startsWith(read)).toBe(true);
      expect(error).toBeInstanceOf(TruncatedTraceError);
      expect(error).toMatchObject({ bytesRead: read.length });
    }
    const withoutSum = await textOf(file("cut.gz", packed.subarray(0, packed.length - 4)));
    expect(withoutSum.text).toBe(long);
    expect(withoutSum.error).toBeInstanceOf(TruncatedTraceError);
  });

  it("hands the records out that were whole before the end", async () => {
    const packed = gzipSync(long);
    const reader = readTrace(openTrace(file("half.gz", packed.subarray(0, packed.length / 2))));
    let records = 0;
    const reading = (async () => {
      for await (const batch of reader) records += batch.length;
    })();
    await expect(reading).rejects.toThrow(TruncatedTraceError);
    expect(records).toBeGreaterThan(1000);
    expect(reader.report.records).toBe(records);
    expect(parseTraceText(long).records.length).toBeGreaterThan(records);
  });

  it.each([
    ["trace.dat", "\x17\x08\x44tracing6\0\0\0", /trace\.dat.*`trace-cmd report`/],
    ["perf.data", "PERFILE2h\0\0\0\0\0\0\0", /perf\.data.*`perf script`/],
    ["trace.zst", "\x28\xb5\x2f\xfd\x24", /zstd.*`zstd -dc`/],
    ["trace.xz", "\xfd7zXZ\0", /xz.*`xz -dc`/],
    ["trace.bz2", "BZh91AY", /bzip2.*`bzip2 -dc`/],
    ["vmcore", "KDUMP   \x06\0\0\0", /binary data/],
  ])("refuses %s and says what makes text of it", async (name, content, message) => {
    const bytes = Buffer.from(content, "latin1");
    for (const path of [file(name, bytes), file(`${name}.gz`, gzipSync(bytes))]) {
      const { error } = await textOf(path);
      expect(error).toBeInstanceOf(BinaryTraceError);
      expect((error as Error).message).toMatch(message);
    }
  });

  it("throws what opening a file throws", async () => {
    expect((await textOf(join(folder, "missing"))).error).toMatchObject({ code: "ENOENT" });
  });
});
