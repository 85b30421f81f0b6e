import { lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { JsonFileError } from "../../src/terminal/errors.js";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatQuantity,
  formatShare,
} from "../../src/terminal/format-quantity.js";
import { formatTimespec } from "../../src/terminal/format-timespec.js";
import { type SignalSource, watchInterruption } from "../../src/terminal/interruption.js";
import { checkJsonFile, writeJsonFile } from "../../src/terminal/json-file.js";
import { noProgress, prefixProgress, terminalProgress } from "../../src/terminal/progress.js";
import { renderTable } from "../../src/terminal/render-table.js";
import { paint, plainStyle, styleFor } from "../../src/terminal/style.js";

describe("formatTimespec", () => {
  test.each([
    [0, "0.000000000s"],
    [0.000000001, "0.000000001s"],
    [1.0000000004, "1.000000000s"],
    [0.9999999999, "1.000000000s"],
    [15.95438897, "15.954388970s"],
  ])("%d seconds are %s", (seconds, text) => {
    expect(formatTimespec(seconds)).toBe(text);
  });
});

describe("quantities", () => {
  test.each([
    [formatDuration(0), "0 s"],
    [formatDuration(3e-9), "3 ns"],
    [formatDuration(1.23456e-5), "12.35 µs"],
    [formatDuration(0.25), "250 ms"],
    [formatDuration(125), "125 s"],
    [formatCount(1_434_000), "1,434,000"],
    [formatCount(2.5), "2.5"],
    [formatShare(0.12345), "12.35 %"],
    [formatBytes(0), "0 B"],
    [formatBytes(4096), "4 KiB"],
    [formatBytes(22_536_192), "21.49 MiB"],
    [formatQuantity(1500, "ns"), "1.5 µs"],
    [formatQuantity(2, "s"), "2 s"],
    [formatQuantity(0.5, "share"), "50.00 %"],
    [formatQuantity(5000, "count"), "5,000"],
  ])("%s", (text, expected) => {
    expect(text).toBe(expected);
  });
});

describe("renderTable", () => {
  const data = {
    head: ["name", "n"],
    rows: [
      ["first", "1"],
      ["x", "200"],
    ],
  };

  test("is columns of text in the plain style", () => {
    expect(renderTable(data, plainStyle)).toBe("name     n\nfirst    1\nx      200");
  });

  test("has lines on a terminal, and colour unless that is unwanted", () => {
    const lined = renderTable(data, { colour: false, borders: true });
    expect(lined).toContain("│ first │   1 │");
    expect(lined).not.toContain("\u001b");
    expect(renderTable(data, { colour: true, borders: true })).toContain("\u001b[1mname\u001b[22m");
  });
});

describe("styleFor", () => {
  test("is plain unless on a terminal, and obeys NO_COLOR", () => {
    expect(styleFor({}, {})).toEqual(plainStyle);
    expect(styleFor({ isTTY: true }, {})).toEqual({ colour: true, borders: true });
    expect(styleFor({ isTTY: true }, { NO_COLOR: "1" })).toEqual({ colour: false, borders: true });
    expect(styleFor({ isTTY: true }, { NO_COLOR: "" }).colour).toBe(true);
    expect(paint(plainStyle, "red", "x")).toBe("x");
  });
});

test.each([
  [true, 0],
  [true, undefined],
  [false, 80],
])("no spinner on a stream of isTTY %s and %s columns", (isTTY, columns) => {
  expect(terminalProgress({ isTTY, columns } as NodeJS.WriteStream)).toBe(noProgress);
});

describe("prefixProgress", () => {
  test("puts its text in front", () => {
    const lines: string[] = [];
    prefixProgress({ ...noProgress, update: (text) => lines.push(text) }, "run 2").update("reading");
    expect(lines).toEqual(["run 2: reading"]);
  });
});

describe("watchInterruption", () => {
  /** Ctrl-C without a process. */
  class FakeSignals implements SignalSource {
    readonly listeners = new Set<() => void>();
    readonly exits: number[] = [];
    on(_: "SIGINT", listener: () => void): void {
      this.listeners.add(listener);
    }
    off(_: "SIGINT", listener: () => void): void {
      this.listeners.delete(listener);
    }
    exit(code: number): void {
      this.exits.push(code);
    }
    press(): void {
      for (const listener of this.listeners) listener();
    }
  }

  test("aborts first, quits with 130 second, and lets go", () => {
    const signals = new FakeSignals();
    const said: string[] = [];
    const interruption = watchInterruption((text) => said.push(text), signals);
    expect(interruption.signal.aborted).toBe(false);
    signals.press();
    expect([interruption.signal.aborted, signals.exits]).toEqual([true, []]);
    expect(said[0]).toContain("Ctrl-C again quits at once");
    signals.press();
    expect(signals.exits).toEqual([130]);
    interruption.release();
    expect(signals.listeners.size).toBe(0);
  });
});

describe("JSON files", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "kvm-age-json-"));
  });
  afterAll(() => rm(directory, { recursive: true }));

  test("are written whole, replace the old and leave nothing behind", async () => {
    const path = join(directory, "result.json");
    await checkJsonFile(path);
    await writeJsonFile(path, { version: 1 });
    await writeJsonFile(path, { version: 2 });
    expect(JSON.parse(await readFile(path, "utf8"))).toEqual({ version: 2 });
    expect(await readdir(directory)).toEqual(["result.json"]);
  });

  test("follow a symbolic link and leave it one", async () => {
    const path = join(directory, "linked.json");
    const link = join(directory, "link.json");
    await symlink(path, link);
    await writeFile(path, "old");
    await writeJsonFile(link, { version: 3 });
    expect(JSON.parse(await readFile(path, "utf8"))).toEqual({ version: 3 });
    expect((await lstat(link)).isSymbolicLink()).toBe(true);
  });

  test("go into a device as it is", async () => {
    await writeJsonFile("/dev/null", {});
    expect((await stat("/dev/null")).isCharacterDevice()).toBe(true);
  });

  test("are refused where they cannot be", async () => {
    await expect(checkJsonFile("")).rejects.toThrow("the path is empty");
    await expect(checkJsonFile(directory)).rejects.toThrow(JsonFileError);
    await expect(checkJsonFile(directory)).rejects.toThrow("it is a directory");
    await expect(checkJsonFile(join(directory, "no", "x.json"))).rejects.toThrow("does not exist");
  });

  test("name what went wrong when a directory took their place meanwhile", async () => {
    const path = join(directory, "taken");
    await mkdir(path);
    await expect(writeJsonFile(path, {})).rejects.toThrow(JsonFileError);
    expect((await readdir(directory)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});
