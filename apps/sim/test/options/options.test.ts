import { Command, CommanderError } from "commander";
import { describe, expect, test } from "vitest";
import {
  type AccessTrackingFlags,
  addAccessTrackingOptions,
  resolveAccessTrackingOptions,
} from "../../src/options/access-tracking-options.js";
import { IncompatibleOptionsError, OptionRangeError } from "../../src/options/errors.js";
import { memoryLimitPages } from "../../src/options/memory-limit.js";
import {
  addMmuStressOptions,
  type MmuStressFlags,
  resolveMmuStressOptions,
  stressSlots,
} from "../../src/options/mmu-stress-options.js";
import {
  addNestedOptions,
  type NestedFlags,
  resolveNestedOptions,
} from "../../src/options/nested-options.js";
import {
  addReplayOptions,
  type ReplayFlags,
  resolveReplayOptions,
} from "../../src/options/replay-options.js";

function parse<Flags>(add: (command: Command) => Command, args: readonly string[]): Flags {
  const command = add(new Command().exitOverride().configureOutput({ writeErr: () => {} }));
  return command.parse([...args], { from: "user" }).opts() as Flags;
}

function accessTracking(...args: readonly string[]): ReturnType<typeof resolveAccessTrackingOptions> {
  return resolveAccessTrackingOptions(parse<AccessTrackingFlags>(addAccessTrackingOptions, args));
}

function replay(...args: readonly string[]): ReturnType<typeof resolveReplayOptions> {
  return resolveReplayOptions(parse<ReplayFlags>(addReplayOptions, ["--trace", "t", ...args]));
}

function mmuStress(...args: readonly string[]): ReturnType<typeof resolveMmuStressOptions> {
  return resolveMmuStressOptions(parse<MmuStressFlags>(addMmuStressOptions, args));
}

function nested(...args: readonly string[]): ReturnType<typeof resolveNestedOptions> {
  return resolveNestedOptions(parse<NestedFlags>(addNestedOptions, args));
}

describe("options of access-tracking", () => {
  test("have the documented defaults", () => {
    expect(accessTracking()).toEqual({
      vcpus: 1,
      policy: "lockless",
      mmu: "tdp",
      mmuMode: "ept",
      adBits: true,
      ruleSet: "linux-7.3",
      seed: 0x6b8b4567,
      lockdep: false,
      sanitizer: false,
      bytesPerVcpu: 64 << 20,
      overlap: false,
      agingDuringFaults: false,
      backing: "anonymous",
      agers: 1,
      tooManyIdle: "fail",
    });
  });

  test("take the selftest's letters", () => {
    const options = accessTracking("-v", "2", "-b", "0x10M", "-o", "-p", "-s", "anonymous_thp", "-w", "1");
    expect(options).toMatchObject({
      vcpus: 2,
      bytesPerVcpu: 16 << 20,
      overlap: true,
      agingDuringFaults: true,
    });
    expect(options).toMatchObject({ backing: "anonymous_thp", tooManyIdle: "warn" });
  });

  test.each([
    ["-w", "0"],
    ["-w", "-1"],
    ["-w", "-77"],
  ])("%s %s fails on too many idle pages", (...args) => {
    expect(accessTracking(...args).tooManyIdle).toBe("fail");
  });

  test("take a hexadecimal seed", () => {
    expect(accessTracking("--seed", "0xffffffff").seed).toBe(0xffff_ffff);
  });

  test.each([
    [["-v", "0"], "integers 1 to 64"],
    [["-v", "65"], "integers 1 to 64"],
    [["-v", "two"], "integers 1 to 64"],
    [["-v", "1.5"], "integers 1 to 64"],
    [["-v", ""], "integers 1 to 64"],
    [["--agers", "17"], "integers 1 to 16"],
    [["--seed", "0x100000000"], "integers 0 to 4294967295"],
    [["-b", "64X"], "is not a size"],
    [["-s", "shmem"], "anonymous, anonymous_thp"],
    [["--policy", "none"], "unknown option"],
    [["--mmu-mode", "shadow"], "ept, npt"],
    [["--rule-set", "linux-6.11"], "linux-6.12, linux-6.15, linux-7.3"],
    [["--nonsense"], "unknown option '--nonsense'"],
  ] as const)("refuse %j and name what is allowed", (args, allowed) => {
    expect(() => accessTracking(...args)).toThrow(CommanderError);
    expect(() => accessTracking(...args)).toThrow(allowed);
  });

  test.each(["0", "1", "4095", "5000"])("refuse %s bytes of memory", (bytes) => {
    expect(() => accessTracking("-b", bytes)).toThrow(OptionRangeError);
    expect(() => accessTracking("-b", bytes)).toThrow(bytes);
  });

  test("refuse NPT without A/D bits, and say why", () => {
    expect(accessTracking("--no-ad").adBits).toBe(false);
    expect(() => accessTracking("--no-ad", "--mmu-mode", "npt")).toThrow(IncompatibleOptionsError);
    expect(() => accessTracking("--no-ad", "--mmu-mode", "npt")).toThrow(
      "always have Accessed and Dirty bits",
    );
  });
});

describe("options of replay", () => {
  test("have the documented defaults", () => {
    expect(replay()).toMatchObject({
      trace: "t",
      ageEveryMs: 50,
      reclaimEveryMs: 20,
      memoryLimit: { unit: "percent", value: 75 },
      repeat: 1,
    });
  });

  test.each([
    ["16M", { unit: "bytes", value: 16 << 20 }],
    ["4k", { unit: "bytes", value: 4096 }],
    ["12.5%", { unit: "percent", value: 12.5 }],
    ["100%", { unit: "percent", value: 100 }],
  ])("take %s as memory limit", (text, limit) => {
    expect(replay("--memory-limit", text).memoryLimit).toEqual(limit);
  });

  test.each(["0%", "101%", "%", "-5%", "4095", "0", "lots"])("refuse %s as memory limit", (text) => {
    expect(() => replay("--memory-limit", text)).toThrow("at least 4K");
  });

  test("can switch reclaim off, but not aging", () => {
    expect(replay("--reclaim-every", "0").reclaimEveryMs).toBe(0);
    expect(() => replay("--age-every", "0")).toThrow("integers 1 to");
  });

  test("need a trace", () => {
    expect(() => parse(addReplayOptions, [])).toThrow("--trace <file>");
  });
});

describe("options of mmu-stress", () => {
  test("have the documented defaults", () => {
    expect(mmuStress()).toMatchObject({
      vcpus: 2,
      mmu: "tdp",
      maxMemoryBytes: 256 << 20,
      slotBytes: 64 << 20,
      agers: 1,
    });
  });

  test("take the selftest's letters and leave out a slot that does not fit", () => {
    const options = mmuStress("-c", "3", "-m", "1G", "-s", "300M", "--mmu", "shadow", "--agers", "0");
    expect(options).toMatchObject({ vcpus: 3, mmu: "shadow", maxMemoryBytes: 2 ** 30, agers: 0 });
    expect(stressSlots(options)).toBe(3);
  });

  test.each(["0", "4096", "5000"])("refuse slots of %s bytes", (bytes) => {
    expect(() => mmuStress("-s", bytes)).toThrow(OptionRangeError);
    expect(() => mmuStress("-s", bytes)).toThrow(
      `--slot-size ${bytes} is outside the multiples of 4096, from 8192`,
    );
  });

  test("refuse no slot, too many, and more vCPUs than pages, and say how many there are", () => {
    expect(() => mmuStress("-m", "1M", "-s", "2M")).toThrow(
      "0 slots of 2 MiB fit into 1 MiB; allowed: 1 to 512",
    );
    expect(() => mmuStress("-m", "8M", "-s", "8K")).toThrow("1024 slots of 8 KiB fit into 8 MiB");
    expect(() => mmuStress("-m", "8K", "-s", "8K", "-c", "3")).toThrow("--vcpus 3 is outside 1 to 2");
  });

  test("refuse more agers than there can be", () => {
    expect(() => mmuStress("--agers", "17")).toThrow("integers 0 to 16");
  });
});

describe("options of nested", () => {
  test("have the documented defaults", () => {
    expect(nested()).toMatchObject({
      mmu: "tdp+nested",
      bytesPerVcpu: 16 << 20,
      rounds: 200,
      checkRounds: 2,
    });
  });

  test.each(["tdp", "direct", "shadow"])("refuse --mmu %s", (mmu) => {
    expect(() => nested("--mmu", mmu)).toThrow(`'${mmu}' is invalid. Allowed choices are tdp+nested`);
  });

  test.each(["0", "4096", "20480"])("refuse %s bytes, which are no four equal sets", (bytes) => {
    expect(() => nested("-b", bytes)).toThrow(
      `--bytes ${bytes} is outside the multiples of 16384, from 16384`,
    );
  });

  test("refuse no rounds", () => {
    expect(() => nested("--rounds", "0")).toThrow("integers 1 to");
    expect(() => nested("--check-rounds", "0")).toThrow("integers 1 to");
  });
});

describe("options of every scenario", () => {
  test.each(["tdp", "direct", "shadow", "tdp+nested"])("take --mmu %s", (mmu) => {
    expect([accessTracking("--mmu", mmu).mmu, replay("--mmu", mmu).mmu]).toEqual([mmu, mmu]);
    expect(mmuStress("--mmu", mmu).mmu).toBe(mmu);
  });

  test("refuse another MMU and name those there are", () => {
    expect(() => replay("--mmu", "nested")).toThrow("Allowed choices are tdp, direct, shadow, tdp+nested");
  });

  test.each([
    [["--mmu", "shadow", "--mmu-mode", "npt"], "--mmu-mode npt cannot be combined with --mmu shadow"],
    [["--mmu", "shadow", "--no-ad"], "--no-ad cannot be combined with --mmu shadow"],
  ])("refuse %j", (args, message) => {
    expect(() => accessTracking(...args)).toThrow(IncompatibleOptionsError);
    expect(() => accessTracking(...args)).toThrow(message);
  });
});

describe("memoryLimitPages", () => {
  test("rounds down to whole pages, at least one", () => {
    expect(memoryLimitPages({ unit: "percent", value: 75 }, 5502)).toBe(4126);
    expect(memoryLimitPages({ unit: "percent", value: 1 }, 5)).toBe(1);
    expect(memoryLimitPages({ unit: "bytes", value: 10_000 }, 5502)).toBe(2);
  });
});
