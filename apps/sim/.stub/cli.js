#!/usr/bin/env node

// src/commands/program.ts
import { Command } from "commander";

// package.json
var package_default = {
  name: "@kvm-age/sim",
  version: "0.0.0",
  description: "The host of kvm-age: wires the packages into a VM, runs scenarios on real threads, and is the kvm-age command",
  private: true,
  license: "MIT",
  type: "module",
  engines: {
    node: ">=20.19"
  },
  bin: {
    "kvm-age": "./dist/cli.js"
  },
  scripts: {
    build: "tsup",
    typecheck: "tsc --noEmit"
  },
  dependencies: {
    "@kvm-age/host-mm": "workspace:^",
    "@kvm-age/machine": "workspace:^",
    "@kvm-age/memslot": "workspace:^",
    "@kvm-age/spte": "workspace:^",
    "@kvm-age/tdp-mmu": "workspace:^",
    "@kvm-age/vcpu": "workspace:^",
    "cli-table3": "0.6.5",
    commander: "14.0.3",
    "hdr-histogram-js": "3.0.1",
    ora: "9.4.1",
    "simple-statistics": "7.8.8",
    zod: "4.6.7"
  }
};

// src/commands/compare.ts
import { Option as Option4 } from "commander";

// src/options/integer-option.ts
import { InvalidArgumentError } from "commander";
var INTEGER = /^[+-]?(0x[0-9a-f]+|[0-9]+)$/i;
function integerOption(low, high) {
  return (text) => {
    const sign = text.startsWith("-") ? -1 : 1;
    const value = INTEGER.test(text) ? sign * Number(text.replace(/^[+-]/, "")) : Number.NaN;
    if (!(value >= low && value <= high))
      throw new InvalidArgumentError(`Allowed: integers ${low} to ${high}.`);
    return value;
  };
}

// src/options/mmu-options.ts
import { Option } from "commander";
import { z } from "zod";

// src/options/errors.ts
var UsageError = class extends Error {
  name = "UsageError";
};
var InvalidSizeError = class extends UsageError {
  name = "InvalidSizeError";
  constructor(text) {
    super(
      `${JSON.stringify(text)} is not a size; expected a decimal, 0x hexadecimal or 0 octal number, then nothing, b, k, m, g or t, e.g. 64M`
    );
  }
};
var SizeRangeError = class extends UsageError {
  name = "SizeRangeError";
  constructor(text) {
    super(`size ${JSON.stringify(text)} is larger than ${Number.MAX_SAFE_INTEGER} bytes`);
  }
};
var OptionRangeError = class extends UsageError {
  name = "OptionRangeError";
  constructor(option, value, allowed) {
    super(`${option} ${typeof value === "string" ? JSON.stringify(value) : value} is outside ${allowed}`);
  }
};
var IncompatibleOptionsError = class extends UsageError {
  name = "IncompatibleOptionsError";
  constructor(first, second, reason) {
    super(`${first} cannot be combined with ${second}: ${reason}`);
  }
};

// src/options/mmu-options.ts
var POLICIES = ["locked", "lockless"];
var MMU_MODES = ["ept", "npt"];
var RULE_SETS = ["linux-6.15", "linux-7.3"];
var DEFAULT_SEED = 1804289383;
var MAX_VCPUS = 64;
var MAX_SEED = 4294967295;
var mmuOptionsShape = {
  vcpus: z.int().min(1).max(MAX_VCPUS),
  policy: z.enum(POLICIES).describe("locked: aging holds mmu_lock for write; lockless: it takes no mmu_lock"),
  mmuMode: z.enum(MMU_MODES),
  adBits: z.boolean().describe("whether the CPU maintains Accessed and Dirty bits"),
  ruleSet: z.enum(RULE_SETS),
  seed: z.int().min(0).max(MAX_SEED),
  lockdep: z.boolean().describe("whether lock order and contexts were checked"),
  sanitizer: z.boolean().describe("whether every memory access was checked")
};
var mmuOptionsSchema = z.strictObject(mmuOptionsShape);
function policyOption() {
  return new Option("--policy <policy>", "how aging is locked").choices(POLICIES).default("lockless");
}
function addMmuOptions(command) {
  return command.addOption(new Option("--mmu-mode <mode>", "page-table format").choices(MMU_MODES).default("ept")).option("--no-ad", "EPT without Accessed and Dirty bits: aging makes entries unreadable instead").addOption(
    new Option("--rule-set <kernel>", "kernel whose rules apply").choices(RULE_SETS).default("linux-7.3")
  ).addOption(
    new Option("--seed <n>", "seed of every random choice").argParser(integerOption(0, MAX_SEED)).default(DEFAULT_SEED, `0x${DEFAULT_SEED.toString(16)}`)
  ).option("--lockdep", "check lock order and contexts (slow)").option("--sanitizer", "check every memory access (slow)");
}
function vcpusOption() {
  return new Option("-v, --vcpus <n>", `vCPUs, 1 to ${MAX_VCPUS}`).argParser(integerOption(1, MAX_VCPUS)).default(1);
}
function resolveMmuOptions(flags) {
  if (flags.mmuMode === "npt" && !flags.ad) {
    const reason = "AMD's nested page tables always have Accessed and Dirty bits; use --mmu-mode ept";
    throw new IncompatibleOptionsError("--no-ad", "--mmu-mode npt", reason);
  }
  return {
    vcpus: flags.vcpus,
    policy: flags.policy ?? "lockless",
    mmuMode: flags.mmuMode,
    adBits: flags.ad,
    ruleSet: flags.ruleSet,
    seed: flags.seed,
    lockdep: flags.lockdep === true,
    sanitizer: flags.sanitizer === true
  };
}

// src/options/access-tracking-options.ts
import { Option as Option2 } from "commander";
import { z as z2 } from "zod";

// src/options/size-option.ts
import { InvalidArgumentError as InvalidArgumentError2 } from "commander";

// src/options/parse-size.ts
var SIZE = /^(0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*)([bkmgt]?)$/i;
var SHIFT = { "": 0n, b: 0n, k: 10n, m: 20n, g: 30n, t: 40n };
function parseNumber(digits) {
  const octal = /^0[0-7]+$/.test(digits);
  return BigInt(octal ? `0o${digits.slice(1)}` : digits);
}
function parseSize(text) {
  const match = SIZE.exec(text);
  if (match === null) throw new InvalidSizeError(text);
  const bytes = parseNumber(match[1]) << SHIFT[match[2].toLowerCase()];
  if (bytes > Number.MAX_SAFE_INTEGER) throw new SizeRangeError(text);
  return Number(bytes);
}

// src/options/size-option.ts
function sizeOption(text) {
  try {
    return parseSize(text);
  } catch (error) {
    if (error instanceof UsageError) throw new InvalidArgumentError2(`${error.message}.`);
    throw error;
  }
}

// src/options/access-tracking-options.ts
var BACKINGS = ["anonymous", "anonymous_thp"];
var MAX_AGERS = 16;
var PAGE_BYTES = 4096;
var DEFAULT_BYTES_PER_VCPU = 64 * 1024 * 1024;
var accessTrackingOptionsSchema = z2.strictObject({
  ...mmuOptionsShape,
  bytesPerVcpu: z2.int().min(PAGE_BYTES).multipleOf(PAGE_BYTES).describe("guest memory of each vCPU, bytes"),
  overlap: z2.boolean().describe("whether all vCPUs use all of the memory"),
  agingDuringFaults: z2.boolean().describe("whether aging runs while the vCPUs populate their memory"),
  backing: z2.enum(BACKINGS),
  agers: z2.int().min(1).max(MAX_AGERS).describe("threads that age while the vCPUs populate their memory"),
  tooManyIdle: z2.enum(["fail", "warn"]).describe("what 10 % of pages still idle after an access lead to")
});
function addAccessTrackingOptions(command) {
  command.addOption(vcpusOption()).addOption(
    new Option2("-b, --bytes <size>", "memory per vCPU, 4K to what fits, with b, k, m, g or t").argParser(sizeOption).default(DEFAULT_BYTES_PER_VCPU, "64M; the selftest's is 1G")
  ).option("-o, --overlap", "all vCPUs use all of the memory, instead of a part each").option("-p, --aging-during-faults", "age while the vCPUs populate their memory, instead of the phases").addOption(new Option2("-s, --backing <type>", "backing memory").choices(BACKINGS).default("anonymous")).addOption(
    new Option2("-w, --warn-idle <n>", "too many idle pages: > 0 only warn, 0 fail, < 0 automatic (fail)").argParser(integerOption(-2147483648, 2147483647)).default(-1)
  ).addOption(
    new Option2("--agers <n>", `aging threads with -p, 1 to ${MAX_AGERS}`).argParser(integerOption(1, MAX_AGERS)).default(1)
  );
  return addMmuOptions(command);
}
function resolveAccessTrackingOptions(flags) {
  if (flags.bytes < PAGE_BYTES || flags.bytes % PAGE_BYTES !== 0) {
    throw new OptionRangeError("--bytes", flags.bytes, `the multiples of ${PAGE_BYTES}, from ${PAGE_BYTES}`);
  }
  return accessTrackingOptionsSchema.parse({
    ...resolveMmuOptions(flags),
    bytesPerVcpu: flags.bytes,
    overlap: flags.overlap === true,
    agingDuringFaults: flags.agingDuringFaults === true,
    backing: flags.backing,
    agers: flags.agers,
    tooManyIdle: flags.warnIdle > 0 ? "warn" : "fail"
  });
}

// ../../../../tmp/stub-runner.js
var lat = { count: 10, meanNs: 1200, p50Ns: 1e3, p90Ns: 2e3, p99Ns: 3e4, p999Ns: 4e4, maxNs: 5e4 };
var prov = { version: "0.0.0", node: process.version, platform: "linux x64", cpuModel: "x", cores: 2, startedAt: (/* @__PURE__ */ new Date()).toISOString(), command: [] };
var lw = (role, f) => ({ role, lock: "mmu_lock", mode: "write", acquisitions: 10, waitTotalNs: 1e3 * f, waitP50Ns: 1, waitP99Ns: 2, waitMaxNs: 3, holdTotalNs: 4, holdP99Ns: 5, holdMaxNs: 6 });
var mach = (f) => ({ faultLatency: lat, lockWaits: [lw("vcpu", f), lw("ager", f)], mmu: { faults: 3 }, tlb: { accesses: 100, hits: 50, misses: 50, walks: 50, faults: 10, flushes: 1 }, memory: { guestPages: 100, arenaBytes: 1e6, arenaBytesPerGuestPage: 9.5 } });
var wait = (ms, signal) => new Promise((r) => {
  const t = setTimeout(r, ms);
  signal.addEventListener("abort", () => {
    clearTimeout(t);
    r();
  });
});
async function runAccessTracking(options, { signal, progress }) {
  progress.update("Populating memory");
  await wait(process.env.SLOW ? 3e3 : 5, signal);
  const f = (options.policy === "locked" ? 3 : 1) * (1 + Math.random() / 10);
  const names = ["Populating memory", "Writing to populated memory", "Reading from populated memory", "Mark memory idle", "Writing to idle memory", "Mark memory idle", "Reading from idle memory"];
  return {
    schema: "kvm-age/access-tracking@1",
    provenance: prov,
    options,
    seed: options.seed,
    interrupted: signal.aborted,
    warnings: [],
    guestTestMemory: { startGpa: 70367670431744, endGpa: 70368744173568 },
    phases: options.agingDuringFaults ? [] : names.map((name, i) => ({ name, seconds: 0.01351221 * f, vcpus: [{ vcpu: 0, seconds: 0.01 }] })),
    agingDuringFaults: options.agingDuringFaults ? { passes: Math.round(35 / f), totalSeconds: 1, averagePassSeconds: 0.03 * f, passSeconds: [1], vcpuWallSeconds: f, pagesVisited: 1e3, youngPages: 10 } : null,
    idleChecks: options.agingDuringFaults ? [] : [{ phaseIndex: 5, vcpu: 0, pages: 100, stillIdlePages: Number(process.env.IDLE ?? 0), noPfnPages: 0 }],
    ...mach(f)
  };
}
async function runReplay(options, { signal, progress }) {
  progress.update("replaying");
  await wait(5, signal);
  const f = Math.random();
  return {
    schema: "kvm-age/replay@1",
    provenance: prov,
    options,
    seed: options.seed,
    interrupted: signal.aborted,
    warnings: [],
    trace: { path: options.trace, lines: 3, loads: 1, stores: 1, modifies: 1, pages: 2, writtenPages: 2, footprintBytes: 8192 },
    vcpus: [{ vcpu: 0, seconds: f, accesses: 3, tlbHits: 1, faults: 2, refaults: 0 }],
    faults: 2,
    refaults: 0,
    aging: { cadenceMs: 50, passes: 3, passSeconds: { mean: f, p50: f, p99: f, max: f }, idlePages: 3 },
    accuracy: { idleReports: 3, wronglyIdleReports: 1, wronglyIdleShare: 1 / 3, idleTruePositives: 2, missedIdle: 0 },
    reclaim: { cadenceMs: 20, limitPages: 1, reclaimedPages: 1, keptYoung: 1, swappedOutPages: 1 },
    invalidationLatency: lat,
    ...mach(f)
  };
}

// src/terminal/format-timespec.ts
var NS_PER_SECOND = 1e9;
function formatTimespec(seconds2) {
  const ns2 = Math.round(seconds2 * NS_PER_SECOND);
  const whole = Math.floor(ns2 / NS_PER_SECOND);
  return `${whole}.${String(ns2 % NS_PER_SECOND).padStart(9, "0")}s`;
}

// src/scenarios/access-tracking-lines.ts
var DESCRIPTION_WIDTH = 30;
var TEST_MODE = "PA-bits:ANY, VA-bits:48,  4K pages";
function line(description, value) {
  return `${description.padEnd(DESCRIPTION_WIDTH)}: ${value}`;
}
function hasTooManyIdle(check) {
  return check.pages > 0 && check.stillIdlePages >= check.pages / 10;
}
function tooManyIdleText(check) {
  return `vCPU${check.vcpu}: Too many pages still idle (${check.stillIdlePages} out of ${check.pages})`;
}
function headerLines(result) {
  const { startGpa, endGpa } = result.guestTestMemory;
  return [
    `Random seed: 0x${result.seed.toString(16)}`,
    `Testing guest mode: ${TEST_MODE}`,
    `guest physical test memory: [0x${startGpa.toString(16)}, 0x${endGpa.toString(16)})`,
    ""
  ];
}
function phaseLines(result) {
  const warns = result.options.tooManyIdle === "warn";
  return result.phases.flatMap((phase, index) => {
    const checks = result.idleChecks.filter((check) => check.phaseIndex === index && hasTooManyIdle(check));
    const warnings = checks.map(
      (check) => `WARNING: ${tooManyIdleText(check)}, this will affect performance results.`
    );
    return [...warns ? warnings : [], line(phase.name, formatTimespec(phase.seconds))];
  });
}
function agingDuringFaultsLines(result) {
  const aging = result.agingDuringFaults;
  if (aging === null) return [];
  const total = `(passes:${aging.passes}, total:${formatTimespec(aging.totalSeconds)})`;
  return [
    "Running lru_gen benchmark...",
    "Populating memory (async)".padEnd(DESCRIPTION_WIDTH),
    line("vcpu wall time", formatTimespec(aging.vcpuWallSeconds)),
    line("lru_gen avg pass duration", `${formatTimespec(aging.averagePassSeconds)}, ${total}`)
  ];
}
function accessTrackingLines(result) {
  const phases = result.options.agingDuringFaults ? agingDuringFaultsLines(result) : phaseLines(result);
  return [...headerLines(result), ...phases];
}

// src/terminal/format-quantity.ts
var SECOND_UNITS = [
  [1e-6, "ns"],
  [1e-3, "\xB5s"],
  [1, "ms"],
  [Number.POSITIVE_INFINITY, "s"]
];
var UNIT_SECONDS = { ns: 1e-9, \u00B5s: 1e-6, ms: 1e-3, s: 1 };
function formatNumber(value) {
  return value.toLocaleString("en-US", { maximumSignificantDigits: 4 });
}
function formatDuration(seconds2) {
  if (seconds2 === 0) return "0 s";
  const unit = SECOND_UNITS.find(([limit]) => seconds2 < limit)?.[1] ?? "s";
  return `${formatNumber(seconds2 / UNIT_SECONDS[unit])} ${unit}`;
}
function formatCount(value) {
  return value.toLocaleString("en-US", { maximumFractionDigits: 1 });
}
function formatShare(value) {
  return `${(100 * value).toFixed(2)} %`;
}
function formatBytes(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${formatNumber(bytes / 1024 ** power)} ${units[power]}`;
}
function formatQuantity(value, unit) {
  if (unit === "s") return formatDuration(value);
  if (unit === "ns") return formatDuration(value * 1e-9);
  return unit === "share" ? formatShare(value) : formatCount(value);
}

// src/terminal/render-table.ts
import Table from "cli-table3";

// src/terminal/style.ts
import { styleText } from "node:util";
var plainStyle = Object.freeze({ colour: false, borders: false });
function styleFor(stream, environment) {
  if (stream.isTTY !== true) return plainStyle;
  return { colour: (environment.NO_COLOR ?? "") === "", borders: true };
}
function paint(style, format, text) {
  return style.colour ? styleText(format, text, { validateStream: false }) : text;
}

// src/terminal/render-table.ts
var NO_LINES = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "  "
};
function renderTable(data, style) {
  const left = data.leftColumns ?? [0];
  const table = new Table({
    head: data.head.map((text) => paint(style, "bold", text)),
    colAligns: data.head.map((_, column) => left.includes(column) ? "left" : "right"),
    style: {
      head: [],
      border: [],
      compact: true,
      ...style.borders ? {} : { "padding-left": 0, "padding-right": 0 }
    },
    ...style.borders ? {} : { chars: NO_LINES }
  });
  table.push(...data.rows.map((row) => [...row]));
  const lines = table.toString().split("\n");
  return lines.map((line2) => line2.trimEnd()).join("\n");
}

// src/scenarios/machine-tables.ts
function ns(value) {
  return formatDuration(value * 1e-9);
}
function latencyTable(latencies, style) {
  const rows = latencies.filter(([, latency]) => latency.count > 0).map(([name, latency]) => [
    name,
    formatCount(latency.count),
    ...[latency.meanNs, latency.p50Ns, latency.p90Ns, latency.p99Ns, latency.p999Ns, latency.maxNs].map(ns)
  ]);
  const head = ["latency", "count", "mean", "p50", "p90", "p99", "p99.9", "max"];
  return rows.length === 0 ? "" : renderTable({ head, rows }, style);
}
function lockWaitTable(lockWaits, style) {
  if (lockWaits.length === 0) return "";
  const rows = lockWaits.map((wait2) => [
    wait2.role,
    wait2.lock,
    wait2.mode,
    formatCount(wait2.acquisitions),
    ...[wait2.waitTotalNs, wait2.waitP99Ns, wait2.waitMaxNs, wait2.holdTotalNs, wait2.holdMaxNs].map(ns)
  ]);
  const head = ["role", "lock", "mode", "acquired", "waited", "wait p99", "wait max", "held", "hold max"];
  return renderTable({ head, rows, leftColumns: [0, 1, 2] }, style);
}
function valueTable(rows, style) {
  return renderTable({ head: ["figure", "value"], rows, leftColumns: [0, 1] }, style);
}
function joinBlocks(blocks) {
  return blocks.filter((block) => block !== "").join("\n\n");
}

// src/scenarios/access-tracking-text.ts
function figures(result) {
  const { options, tlb, memory, agingDuringFaults: aging } = result;
  const share2 = (part, whole) => formatShare(whole === 0 ? 0 : part / whole);
  const rows = [
    ["policy", options.policy],
    ["MMU", `${options.mmuMode}, A/D bits ${options.adBits ? "on" : "off"}, ${options.ruleSet}`],
    ["guest memory", `${formatCount(memory.guestPages)} pages, ${options.backing}`],
    ["arena", `${formatBytes(memory.arenaBytes)}, ${memory.arenaBytesPerGuestPage.toFixed(1)} bytes/page`],
    ["guest accesses", `${formatCount(tlb.accesses)}, TLB hits ${share2(tlb.hits, tlb.accesses)}`],
    ["TLB flushes", formatCount(tlb.flushes)]
  ];
  if (aging === null) return rows;
  const young = `${formatCount(aging.pagesVisited)}, young ${share2(aging.youngPages, aging.pagesVisited)}`;
  return [...rows, ["pages visited by aging", young]];
}
function accessTrackingText(result, style) {
  return joinBlocks([
    accessTrackingLines(result).join("\n"),
    valueTable(figures(result), style),
    latencyTable([["guest fault", result.faultLatency]], style),
    lockWaitTable(result.lockWaits, style)
  ]);
}

// src/scenarios/measure.ts
function latencyMeasures(name, latency) {
  if (latency.count === 0) return [];
  return [
    { name: `${name} p50`, unit: "ns", better: "lower", headline: false, value: latency.p50Ns },
    { name: `${name} p99`, unit: "ns", better: "lower", headline: true, value: latency.p99Ns }
  ];
}
function mmuLockWaitMeasures(lockWaits, roles) {
  return roles.map((role) => {
    const waits = lockWaits.filter((wait2) => wait2.role === role && wait2.lock === "mmu_lock");
    const value = waits.reduce((sum, wait2) => sum + wait2.waitTotalNs, 0);
    return { name: `mmu_lock wait of ${role}s`, unit: "ns", better: "lower", headline: true, value };
  });
}

// src/scenarios/access-tracking.ts
function accessTrackingFailedChecks(result) {
  const noPfn = result.idleChecks.filter((check) => check.pages > 0 && check.noPfnPages >= check.pages / 100).map((check) => `vCPU ${check.vcpu}: No PFN for ${check.noPfnPages} out of ${check.pages} pages.`);
  if (result.options.tooManyIdle === "warn") return noPfn;
  return [...noPfn, ...result.idleChecks.filter(hasTooManyIdle).map(tooManyIdleText)];
}
function phaseMeasures(result) {
  const seen = /* @__PURE__ */ new Map();
  return result.phases.map((phase) => {
    const turn = (seen.get(phase.name) ?? 0) + 1;
    seen.set(phase.name, turn);
    const name = turn === 1 ? phase.name : `${phase.name} (${turn})`;
    return { name, unit: "s", better: "lower", headline: true, value: phase.seconds };
  });
}
function agingMeasures(result) {
  const aging = result.agingDuringFaults;
  if (aging === null) return [];
  const average = {
    name: "average aging pass",
    unit: "s",
    better: "lower",
    headline: true,
    value: aging.averagePassSeconds
  };
  return [
    { name: "vcpu wall time", unit: "s", better: "lower", headline: true, value: aging.vcpuWallSeconds },
    { name: "aging passes", unit: "count", better: "higher", headline: true, value: aging.passes },
    ...aging.passes === 0 ? [] : [average]
  ];
}
function accessTrackingMeasures(result) {
  return [
    ...result.options.agingDuringFaults ? agingMeasures(result) : phaseMeasures(result),
    ...latencyMeasures("guest fault", result.faultLatency),
    ...mmuLockWaitMeasures(result.lockWaits, ["vcpu", "ager"])
  ];
}
var accessTracking = {
  name: "access-tracking",
  summary: "phases of access_tracking_perf_test: access fresh and aged memory, mark it idle; -p: age during faults",
  shows: [
    "kvm_mmu_notifier_clear_young, kvm_age_gfn, kvm_tdp_mmu_age_gfn_range",
    "kvm_tdp_mmu_map and fast_page_fault, against aging",
    "patches: Allow lockless walk of SPTEs when handling aging notifier event; Age TDP MMU SPTEs without holding mmu_lock"
  ],
  examples: [
    ["-v 2 -b 64M --policy lockless", "2 vCPUs with 64 MiB each, aging without mmu_lock"],
    ["-p -b 512M --policy locked", "aging under mmu_lock while 1 vCPU populates 512 MiB"],
    ["--no-ad --json result.json", "a CPU without A/D bits; the result as JSON in a file"]
  ],
  addOptions: addAccessTrackingOptions,
  resolve: resolveAccessTrackingOptions,
  busyThreads: (options) => options.vcpus + (options.agingDuringFaults ? options.agers : 0),
  run: runAccessTracking,
  format: accessTrackingText,
  failedChecks: accessTrackingFailedChecks,
  measures: accessTrackingMeasures
};

// src/results/compare-result.ts
import { z as z12 } from "zod";

// src/results/access-tracking-result.ts
import { z as z8 } from "zod";

// src/results/machine-figures.ts
import { z as z6 } from "zod";

// src/results/latency-summary.ts
import { z as z4 } from "zod";

// src/results/measures.ts
import { z as z3 } from "zod";
var count = z3.int().nonnegative();
var seconds = z3.number().nonnegative();
var nanoseconds = z3.number().nonnegative();
var share = z3.number().min(0).max(1);

// src/results/latency-summary.ts
var latencySummarySchema = z4.strictObject({
  count,
  meanNs: nanoseconds,
  p50Ns: nanoseconds,
  p90Ns: nanoseconds,
  p99Ns: nanoseconds,
  p999Ns: nanoseconds,
  maxNs: nanoseconds
}).meta({ id: "LatencySummary" });

// src/results/lock-wait.ts
import { z as z5 } from "zod";
var lockWaitSchema = z5.strictObject({
  role: z5.string().describe("who waited: vcpu, ager, reclaimer, ..."),
  lock: z5.string().describe("lock class, by its kernel name: mmu_lock, ..."),
  mode: z5.string().describe("read, write, ..."),
  acquisitions: count,
  waitTotalNs: nanoseconds,
  waitP50Ns: nanoseconds,
  waitP99Ns: nanoseconds,
  waitMaxNs: nanoseconds,
  holdTotalNs: nanoseconds,
  holdP99Ns: nanoseconds,
  holdMaxNs: nanoseconds
}).meta({ id: "LockWait" });

// src/results/machine-figures.ts
var machineFigures = {
  faultLatency: latencySummarySchema.describe("guest accesses that missed in the page table, until resolved"),
  lockWaits: z6.array(lockWaitSchema),
  mmu: z6.record(z6.string(), z6.number()).describe("counters of the MMU by their kernel names"),
  tlb: z6.strictObject({
    accesses: count,
    hits: count,
    misses: count,
    walks: count,
    faults: count,
    flushes: count
  }).describe("all vCPUs' TLBs together"),
  memory: z6.strictObject({
    guestPages: count.describe("4 KiB pages of guest memory in the memslots"),
    arenaBytes: count.describe("arena bytes in use at the end"),
    arenaBytesPerGuestPage: z6.number().nonnegative()
  })
};

// src/results/provenance.ts
import { z as z7 } from "zod";
var provenanceSchema = z7.strictObject({
  version: z7.string().describe("version of @kvm-age/sim"),
  node: z7.string().describe("version of Node, e.g. v20.19.0"),
  platform: z7.string().describe("operating system and processor architecture, e.g. linux x64"),
  cpuModel: z7.string().describe("processor model as the operating system names it"),
  cores: count.min(1).describe("processors this process may use"),
  startedAt: z7.iso.datetime().describe("when the run began, UTC"),
  command: z7.array(z7.string()).describe("arguments of the command")
}).meta({ id: "Provenance" });

// src/results/access-tracking-result.ts
var ACCESS_TRACKING_SCHEMA_ID = "kvm-age/access-tracking@1";
var phaseSchema = z8.strictObject({
  name: z8.string().describe("the selftest's description, e.g. Populating memory"),
  seconds: seconds.describe("from releasing all vCPU threads to the last one done"),
  vcpus: z8.array(z8.strictObject({ vcpu: count, seconds }))
});
var agingDuringFaultsSchema = z8.strictObject({
  passes: count,
  totalSeconds: seconds,
  averagePassSeconds: seconds.describe("totalSeconds / passes; 0 without a pass"),
  passSeconds: z8.array(seconds),
  vcpuWallSeconds: seconds.describe("slowest vCPU, populating"),
  pagesVisited: count,
  youngPages: count
});
var idleCheckSchema = z8.strictObject({
  phaseIndex: count.describe("which entry of phases did the marking"),
  vcpu: count,
  pages: count,
  stillIdlePages: count.describe("pages already marked idle although accessed since they were marked"),
  noPfnPages: count.describe("pages with no page frame to mark")
});
var accessTrackingResultSchema = z8.strictObject({
  schema: z8.literal(ACCESS_TRACKING_SCHEMA_ID),
  provenance: provenanceSchema,
  options: accessTrackingOptionsSchema,
  seed: count,
  interrupted: z8.boolean(),
  warnings: z8.array(z8.string()),
  guestTestMemory: z8.strictObject({ startGpa: count, endGpa: count.describe("exclusive") }),
  phases: z8.array(phaseSchema),
  agingDuringFaults: agingDuringFaultsSchema.nullable(),
  idleChecks: z8.array(idleCheckSchema),
  ...machineFigures
}).meta({ id: "AccessTrackingResult" });

// src/results/replay-result.ts
import { z as z11 } from "zod";

// src/options/replay-options.ts
import { Option as Option3 } from "commander";
import { z as z10 } from "zod";

// src/options/memory-limit.ts
import { InvalidArgumentError as InvalidArgumentError3 } from "commander";
import { z as z9 } from "zod";
var memoryLimitSchema = z9.discriminatedUnion("unit", [
  z9.strictObject({ unit: z9.literal("bytes"), value: z9.int().min(4096) }),
  z9.strictObject({ unit: z9.literal("percent"), value: z9.number().gt(0).max(100) })
]);
var PERCENT = /^([0-9]+(?:\.[0-9]+)?)%$/;
function memoryLimitOption(text) {
  const percent = PERCENT.exec(text)?.[1];
  try {
    const limit = percent === void 0 ? { unit: "bytes", value: parseSize(text) } : { unit: "percent", value: Number(percent) };
    if (memoryLimitSchema.safeParse(limit).success) return limit;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
  }
  throw new InvalidArgumentError3("Allowed: a size of at least 4K, e.g. 16M, or more than 0% up to 100%.");
}

// src/options/replay-options.ts
var MAX_CADENCE_MS = 36e5;
var MAX_REPEAT = 1e6;
var replayOptionsSchema = z10.strictObject({
  ...mmuOptionsShape,
  trace: z10.string().min(1).describe("path of the recorded trace"),
  ageEveryMs: z10.int().min(1).max(MAX_CADENCE_MS).describe("from the start of one aging pass to the next"),
  reclaimEveryMs: z10.int().min(0).max(MAX_CADENCE_MS).describe("0: no reclaim"),
  memoryLimit: memoryLimitSchema.describe("guest memory that reclaim leaves resident"),
  repeat: z10.int().min(1).max(MAX_REPEAT).describe("how often each vCPU replays the trace")
});
function addReplayOptions(command) {
  command.requiredOption("--trace <file>", "memory trace of valgrind's lackey (--trace-mem=yes), text or gzip").addOption(vcpusOption()).addOption(
    new Option3("--age-every <ms>", "start an aging pass every so many milliseconds").argParser(integerOption(1, MAX_CADENCE_MS)).default(50)
  ).addOption(
    new Option3("--reclaim-every <ms>", "reclaim every so many milliseconds; 0 = never").argParser(integerOption(0, MAX_CADENCE_MS)).default(20)
  ).addOption(
    new Option3("--memory-limit <limit>", "what reclaim leaves resident: a size or % of the trace's pages").argParser(memoryLimitOption).default({ unit: "percent", value: 75 }, "75%")
  ).addOption(
    new Option3("--repeat <n>", "replay the trace so many times").argParser(integerOption(1, MAX_REPEAT)).default(1)
  );
  return addMmuOptions(command);
}
function resolveReplayOptions(flags) {
  return {
    ...resolveMmuOptions(flags),
    trace: flags.trace,
    ageEveryMs: flags.ageEvery,
    reclaimEveryMs: flags.reclaimEvery,
    memoryLimit: flags.memoryLimit,
    repeat: flags.repeat
  };
}

// src/results/replay-result.ts
var REPLAY_SCHEMA_ID = "kvm-age/replay@1";
var traceSchema = z11.strictObject({
  path: z11.string(),
  lines: count.describe("accesses: loads + stores + modifies"),
  loads: count,
  stores: count,
  modifies: count,
  pages: count.describe("distinct 4 KiB pages"),
  writtenPages: count.describe("distinct pages with a store or modify"),
  footprintBytes: count.describe("pages x 4096")
});
var agingSchema = z11.strictObject({
  cadenceMs: count,
  passes: count,
  passSeconds: z11.strictObject({ mean: seconds, p50: seconds, p99: seconds, max: seconds }),
  idlePages: count.describe("pages reported idle, summed over all passes")
});
var accuracySchema = z11.strictObject({
  idleReports: count.describe("pages reported idle, each pass anew"),
  wronglyIdleReports: count.describe("of these, pages the vCPUs had used since the pass before"),
  wronglyIdleShare: share.describe("wronglyIdleReports / idleReports; 0 without reports"),
  idleTruePositives: count.describe("pages reported idle that were"),
  missedIdle: count.describe("unused pages that were not reported")
});
var reclaimSchema = z11.strictObject({
  cadenceMs: count.describe("0: no reclaim"),
  limitPages: count,
  reclaimedPages: count,
  keptYoung: count.describe("candidates kept because they were young"),
  swappedOutPages: count
});
var replayResultSchema = z11.strictObject({
  schema: z11.literal(REPLAY_SCHEMA_ID),
  provenance: provenanceSchema,
  options: replayOptionsSchema,
  seed: count,
  interrupted: z11.boolean(),
  warnings: z11.array(z11.string()),
  trace: traceSchema,
  vcpus: z11.array(
    z11.strictObject({
      vcpu: count,
      seconds,
      accesses: count,
      tlbHits: count,
      faults: count,
      refaults: count
    })
  ),
  faults: count,
  refaults: count.describe("faults on pages that reclaim had swapped out"),
  aging: agingSchema,
  accuracy: accuracySchema,
  reclaim: reclaimSchema,
  invalidationLatency: latencySummarySchema.describe(
    "from invalidate_range_start to its return, flush included"
  ),
  ...machineFigures
}).meta({ id: "ReplayResult" });

// src/results/compare-result.ts
var COMPARE_SCHEMA_ID = "kvm-age/compare@1";
var VERDICTS = ["a better", "b better", "not distinguishable"];
var metricSchema = z12.strictObject({
  name: z12.string(),
  unit: z12.string().describe("s, ns, count or share"),
  better: z12.enum(["lower", "higher"]),
  headline: z12.boolean().describe("whether it belongs in a short table"),
  aMedian: z12.number(),
  bMedian: z12.number(),
  aSpread: z12.number().describe("median absolute deviation from the median"),
  bSpread: z12.number().describe("median absolute deviation from the median"),
  ratio: z12.number().nullable().describe("bMedian / aMedian; null when aMedian is 0"),
  pValue: z12.number().min(0).max(1).describe("two-sided exact rank-sum test of this metric alone"),
  pAdjusted: z12.number().min(0).max(1).describe("pValue adjusted for the number of metrics (Benjamini, Hochberg)"),
  verdict: z12.enum(VERDICTS)
});
var sideSchema = z12.strictObject({
  label: z12.string(),
  results: z12.array(z12.discriminatedUnion("schema", [accessTrackingResultSchema, replayResultSchema]))
});
var compareResultSchema = z12.strictObject({
  schema: z12.literal(COMPARE_SCHEMA_ID),
  scenario: z12.string(),
  a: sideSchema,
  b: sideSchema,
  interrupted: z12.boolean(),
  metrics: z12.array(metricSchema),
  warnings: z12.array(z12.string()),
  conclusion: z12.string()
});

// src/statistics/compare-samples.ts
import { median, medianAbsoluteDeviation } from "simple-statistics";

// src/statistics/adjust-p-values.ts
function adjustPValues(pValues) {
  const largestFirst = pValues.map((_, index) => index).sort((x, y) => pValues[y] - pValues[x]);
  const adjusted = new Array(pValues.length);
  let smallest = 1;
  largestFirst.forEach((index, place) => {
    const rank = pValues.length - place;
    smallest = Math.min(smallest, pValues[index] * pValues.length / rank);
    adjusted[index] = smallest;
  });
  return adjusted;
}

// src/statistics/ranks.ts
function ranks(values) {
  const order = values.map((_, index) => index).sort((a, b) => values[a] - values[b]);
  const result = new Array(values.length);
  for (let first = 0; first < order.length; ) {
    let next = first + 1;
    while (next < order.length && values[order[next]] === values[order[first]]) next++;
    for (const index of order.slice(first, next)) result[index] = (first + 1 + next) / 2;
    first = next;
  }
  return result;
}

// src/statistics/rank-sum-test.ts
function waysPerSum(doubledRanks, size) {
  const total = doubledRanks.reduce((sum, rank) => sum + rank, 0);
  const ways = Array.from({ length: size + 1 }, () => new Float64Array(total + 1));
  ways[0][0] = 1;
  for (const rank of doubledRanks) {
    for (let chosen = size; chosen >= 1; chosen--) {
      const [larger, smaller] = [ways[chosen], ways[chosen - 1]];
      for (let sum = total; sum >= rank; sum--) larger[sum] += smaller[sum - rank];
    }
  }
  return ways[size];
}
function rankSumTest(a, b) {
  if (a.length === 0 || b.length === 0) return 1;
  const doubled = ranks([...a, ...b]).map((rank) => Math.round(2 * rank));
  const ways = waysPerSum(doubled, a.length);
  const mean = a.length * (a.length + b.length + 1);
  const distance = Math.abs(doubled.slice(0, a.length).reduce((sum, rank) => sum + rank, 0) - mean);
  let [extreme, all] = [0, 0];
  ways.forEach((count2, sum) => {
    all += count2;
    if (Math.abs(sum - mean) >= distance) extreme += count2;
  });
  return extreme / all;
}
function smallestPValue(aLength, bLength) {
  const low = Array.from({ length: aLength }, (_, index) => index);
  const high = Array.from({ length: bLength }, (_, index) => aLength + index);
  return rankSumTest(low, high);
}

// src/statistics/compare-samples.ts
var SIGNIFICANCE = 0.05;
function verdict(better, a, b, pAdjusted) {
  if (pAdjusted >= SIGNIFICANCE || a === b) return "not distinguishable";
  return a < b === (better === "lower") ? "a better" : "b better";
}
function compareOne({ kind, a, b }, pValue, pAdjusted) {
  const [aMedian, bMedian] = [median([...a]), median([...b])];
  return {
    ...kind,
    aMedian,
    bMedian,
    aSpread: medianAbsoluteDeviation([...a]),
    bSpread: medianAbsoluteDeviation([...b]),
    ratio: aMedian === 0 ? null : bMedian / aMedian,
    pValue,
    pAdjusted,
    verdict: verdict(kind.better, aMedian, bMedian, pAdjusted)
  };
}
function compareSamples(pairs) {
  const pValues = pairs.map(({ a, b }) => rankSumTest(a, b));
  const adjusted = adjustPValues(pValues);
  return pairs.map((pair, index) => compareOne(pair, pValues[index], adjusted[index]));
}

// src/terminal/progress.ts
import ora from "ora";
var noProgress = Object.freeze({ update: () => {
}, stop: () => {
} });
function terminalProgress() {
  if (!process.stderr.isTTY) return noProgress;
  const spinner = ora({ stream: process.stderr, discardStdin: false });
  return {
    update: (text) => {
      spinner.text = text;
      if (!spinner.isSpinning) spinner.start();
    },
    stop: () => {
      spinner.stop();
    }
  };
}
function prefixProgress(progress, prefix) {
  return { ...progress, update: (text) => progress.update(`${prefix}: ${text}`) };
}

// src/scenarios/conclude.ts
function named(metrics) {
  const texts = metrics.map(({ name, ratio }) => ratio === null ? name : `${name} ${ratio.toFixed(2)}x`);
  return texts.join(", ");
}
function conclude(labels, metrics) {
  const { a, b } = labels;
  if (metrics.length === 0) return `there are no figures to compare ${a} and ${b} by`;
  const withVerdict = (verdict2) => metrics.filter((metric) => metric.verdict === verdict2);
  const [better, worse] = [withVerdict("b better"), withVerdict("a better")];
  const total = `${metrics.length} figure${metrics.length === 1 ? "" : "s"}`;
  if (better.length + worse.length === 0)
    return `these runs do not tell ${a} and ${b} apart in any of ${total}`;
  const parts = [
    better.length > 0 ? `better than ${a} in ${better.length} of ${total} (${named(better)})` : "",
    worse.length > 0 ? `worse than ${a} in ${worse.length} of ${total} (${named(worse)})` : ""
  ].filter((part) => part !== "");
  const open = metrics.length - better.length - worse.length;
  const rest = open === 0 ? "" : `; ${open} ${open === 1 ? "is" : "are"} not distinguishable`;
  return `${b} is ${parts.join(" and ")}${rest}`;
}
function sentence(clause) {
  return `${clause.charAt(0).toUpperCase()}${clause.slice(1)}.`;
}

// src/scenarios/run-scenario.ts
import { availableParallelism } from "node:os";

// src/results/busy-threads-warning.ts
function busyThreadsWarning(busyThreads, cores) {
  if (busyThreads <= cores) return null;
  const counted = `${busyThreads} busy threads share ${cores} ${cores === 1 ? "core" : "cores"}`;
  return `${counted}: times show the scheduler as well as the locks`;
}

// src/scenarios/run-scenario.ts
async function runScenario(scenario, options, context) {
  const warning = busyThreadsWarning(scenario.busyThreads(options), availableParallelism());
  const result = await scenario.run(options, { ...context, signal: AbortSignal.any([context.signal]) });
  if (warning === null || result.warnings.includes(warning)) return result;
  return { ...result, warnings: [warning, ...result.warnings] };
}

// src/scenarios/compare-scenario.ts
function runOrder(runs) {
  return Array.from(
    { length: runs },
    (_, round) => round % 2 === 0 ? ["a", "b"] : ["b", "a"]
  ).flat();
}
async function collect(scenario, options, plan, context) {
  const samples = { a: [], b: [] };
  for (const side of runOrder(plan.runs)) {
    if (context.signal.aborted) break;
    const label = `${scenario.name}, ${plan[side]}, run ${samples[side].length + 1} of ${plan.runs}`;
    context.progress.update(label);
    const progress = prefixProgress(context.progress, label);
    const result = await runScenario(scenario, { ...options, policy: plan[side] }, { ...context, progress });
    if (result.interrupted) break;
    samples[side].push(result);
  }
  return samples;
}
function valuesOf(measures, name) {
  return measures.flatMap((run) => run.filter((measure) => measure.name === name).map(({ value }) => value));
}
function compareMeasures(a, b) {
  const kinds = new Map([...a, ...b].flat().map(({ value: _, ...kind }) => [kind.name, kind]));
  const pairs = [...kinds.values()].map((kind) => {
    return { kind, a: valuesOf(a, kind.name), b: valuesOf(b, kind.name) };
  });
  return compareSamples(pairs.filter((pair) => pair.a.length > 0 && pair.b.length > 0));
}
function tooFewRunsWarning(aRuns, bRuns) {
  const smallest = smallestPValue(aRuns, bRuns);
  if (smallest < SIGNIFICANCE) return [];
  const runs = `${aRuns} and ${bRuns} runs cannot tell anything apart`;
  return [`${runs}: the smallest possible p is ${smallest.toFixed(2)}, it must be below ${SIGNIFICANCE}`];
}
async function compareScenario(scenario, options, plan, context) {
  const { a, b } = await collect(scenario, options, plan, context);
  const metrics = compareMeasures(a.map(scenario.measures), b.map(scenario.measures));
  const warnings = [...a, ...b].flatMap((result2) => result2.warnings);
  const result = {
    schema: COMPARE_SCHEMA_ID,
    scenario: scenario.name,
    a: { label: plan.a, results: a },
    b: { label: plan.b, results: b },
    interrupted: context.signal.aborted,
    metrics,
    warnings: [.../* @__PURE__ */ new Set([...warnings, ...tooFewRunsWarning(a.length, b.length)])],
    conclusion: sentence(conclude({ a: plan.a, b: plan.b }, metrics))
  };
  return { result, failedChecks: [...new Set([...a, ...b].flatMap(scenario.failedChecks))] };
}

// src/scenarios/compare-text.ts
function sideLabels(result) {
  const [a, b] = [result.a.label, result.b.label];
  return a === b ? { a: `${a} (a)`, b: `${b} (b)` } : { a, b };
}
function verdictText(verdict2, labels, style) {
  if (verdict2 === "not distinguishable") return paint(style, "yellow", verdict2);
  return paint(style, "green", `${verdict2 === "a better" ? labels.a : labels.b} better`);
}
function metricRow(metric, labels, style) {
  const { unit, ratio } = metric;
  const value = (median2, spread) => `${formatQuantity(median2, unit)} \xB1 ${formatQuantity(spread, unit)}`;
  return [
    metric.name,
    value(metric.aMedian, metric.aSpread),
    value(metric.bMedian, metric.bSpread),
    ratio === null ? "-" : ratio.toFixed(3),
    metric.pAdjusted.toFixed(3),
    verdictText(metric.verdict, labels, style)
  ];
}
function compareTable(results, style, shown = () => true) {
  const labels = sideLabels(results[0]);
  const rows = results.flatMap(
    (result) => result.metrics.filter(shown).map((metric) => [result.scenario, ...metricRow(metric, labels, style)])
  );
  const head = ["scenario", "figure", labels.a, labels.b, `${labels.b}/${labels.a}`, "p", "verdict"];
  return renderTable({ head, rows, leftColumns: [0, 1, 6] }, style);
}
function compareLegend(results) {
  const runs = results.map(({ scenario, a, b }) => `${scenario} ${a.results.length} + ${b.results.length}`);
  return `Medians \xB1 median absolute deviation; runs: ${runs.join(", ")}, in turn. p: exact two-sided rank-sum test, adjusted for the number of figures; below 0.05 counts.`;
}
function warningLines(results, style) {
  const warnings = [...new Set(results.flatMap((result) => result.warnings))];
  const lines = warnings.map((warning) => paint(style, "yellow", `warning: ${warning}`));
  return lines.length === 0 ? [] : [...lines, ""];
}
function compareText(result, style) {
  const table = result.metrics.length === 0 ? [] : [compareTable([result], style), ""];
  const parts = [...warningLines([result], style), ...table, compareLegend([result]), "", result.conclusion];
  return parts.join("\n");
}

// src/scenarios/replay-text.ts
function setUpFigures(result) {
  const { options, trace } = result;
  const kinds = `${formatCount(trace.loads)} loads, ${formatCount(trace.stores)} stores, ${formatCount(trace.modifies)} modifies`;
  const pages = `${formatCount(trace.pages)} (${formatBytes(trace.footprintBytes)})`;
  return [
    ["policy", options.policy],
    ["MMU", `${options.mmuMode}, A/D bits ${options.adBits ? "on" : "off"}, ${options.ruleSet}`],
    ["trace", `${trace.path}: ${kinds}`],
    ["pages of the trace", `${pages}, ${formatCount(trace.writtenPages)} written`]
  ];
}
function agingFigures(result) {
  const { aging, accuracy } = result;
  const { mean, p99, max } = aging.passSeconds;
  const durations = [mean, p99, max].map(formatDuration);
  const wrong = `${formatCount(accuracy.wronglyIdleReports)} of ${formatCount(accuracy.idleReports)}`;
  return [
    ["aging passes", `${formatCount(aging.passes)}, one every ${aging.cadenceMs} ms`],
    ["aging pass mean, p99, max", durations.join(", ")],
    ["wrongly called idle", `${wrong} reports (${formatShare(accuracy.wronglyIdleShare)})`],
    ["idle but not reported", formatCount(accuracy.missedIdle)]
  ];
}
function reclaimFigures(result) {
  const { reclaim, faults, refaults } = result;
  const counts = `${formatCount(faults)}, of which ${formatCount(refaults)} refaults`;
  if (reclaim.cadenceMs === 0)
    return [
      ["faults", counts],
      ["reclaim", "off"]
    ];
  const kept = `${formatCount(reclaim.reclaimedPages)} pages, ${formatCount(reclaim.keptYoung)} kept as young`;
  return [
    ["faults", counts],
    ["reclaimed", `${kept}, every ${reclaim.cadenceMs} ms, limit ${formatCount(reclaim.limitPages)} pages`]
  ];
}
function vcpuTable(result, style) {
  const rows = result.vcpus.map((vcpu) => [
    String(vcpu.vcpu),
    formatDuration(vcpu.seconds),
    ...[vcpu.accesses, vcpu.tlbHits, vcpu.faults, vcpu.refaults].map(formatCount)
  ]);
  return renderTable({ head: ["vCPU", "time", "accesses", "TLB hits", "faults", "refaults"], rows }, style);
}
function replayText(result, style) {
  const latencies = [
    ["guest fault", result.faultLatency],
    ["invalidation", result.invalidationLatency]
  ];
  return joinBlocks([
    `Random seed: 0x${result.seed.toString(16)}`,
    valueTable([...setUpFigures(result), ...agingFigures(result), ...reclaimFigures(result)], style),
    vcpuTable(result, style),
    latencyTable(latencies, style),
    lockWaitTable(result.lockWaits, style)
  ]);
}

// src/scenarios/replay.ts
function replayMeasures(result) {
  const { passSeconds, passes } = result.aging;
  const slowest = Math.max(0, ...result.vcpus.map((vcpu) => vcpu.seconds));
  const pass = {
    name: "aging pass p50",
    unit: "s",
    better: "lower",
    headline: true,
    value: passSeconds.p50
  };
  const share2 = result.accuracy.wronglyIdleShare;
  return [
    { name: "replay time", unit: "s", better: "lower", headline: true, value: slowest },
    ...passes === 0 ? [] : [pass],
    ...latencyMeasures("guest fault", result.faultLatency),
    ...latencyMeasures("invalidation", result.invalidationLatency),
    ...mmuLockWaitMeasures(result.lockWaits, ["vcpu", "ager", "reclaimer"]),
    { name: "refaults", unit: "count", better: "lower", headline: false, value: result.refaults },
    { name: "wrongly called idle", unit: "share", better: "lower", headline: false, value: share2 }
  ];
}
var replay = {
  name: "replay",
  summary: "vCPUs replay the memory trace of a real program while its memory is aged and reclaimed",
  shows: [
    "kvm_mmu_notifier_clear_young beside invalidate_range_start/end and the faults that retry",
    "kvm_tdp_mmu_unmap_gfn_range, mmu_invalidate_retry, kvm_tdp_mmu_age_gfn_range",
    "patches: Age TDP MMU SPTEs without holding mmu_lock; Always update A/D-disabled SPTEs atomically"
  ],
  examples: [
    ["--trace app.lackey.gz", "one vCPU, an aging pass every 50 ms, 75 % of the pages resident"],
    ["--trace app.lackey -v 4 --age-every 10 --memory-limit 16M", "four vCPUs, hurried aging"],
    ["--trace app.lackey --reclaim-every 0 --json", "no reclaim; JSON on standard output"]
  ],
  addOptions: addReplayOptions,
  resolve: resolveReplayOptions,
  // Ager and reclaimer sleep between passes; together they count as one busy thread.
  busyThreads: (options) => options.vcpus + 1,
  run: runReplay,
  format: replayText,
  failedChecks: () => [],
  measures: replayMeasures
};

// src/terminal/interruption.ts
var INTERRUPTED_EXIT_CODE = 130;
function watchInterruption(say, source = process) {
  const controller = new AbortController();
  const listener = () => {
    if (controller.signal.aborted) source.exit(INTERRUPTED_EXIT_CODE);
    controller.abort();
    say("interrupted: stopping and printing what there is; Ctrl-C again quits at once");
  };
  source.on("SIGINT", listener);
  return { signal: controller.signal, release: () => source.off("SIGINT", listener) };
}

// src/commands/exit-code.ts
var ExitCode = {
  ok: 0,
  checkFailed: 1,
  usage: 2,
  interrupted: INTERRUPTED_EXIT_CODE
};
var exitCodeHelp = `
Exit codes:
  ${ExitCode.ok}    everything ran and passed its checks
  ${ExitCode.checkFailed}    a check failed
  ${ExitCode.usage}    wrong usage or unusable input
  ${ExitCode.interrupted}  interrupted (Ctrl-C); what there was has been printed`;

// src/commands/help.ts
function withExamples(command, examples) {
  const lines = examples.flatMap(([line2, does]) => [`  $ ${line2}`, `      ${does}`]);
  return command.addHelpText("before", `Examples:
${lines.join("\n")}
`).addHelpText("after", exitCodeHelp);
}
var JSON_OPTION = [
  "--json [file]",
  "the result as JSON on standard output, or in a file beside the text"
];

// src/terminal/json-file.ts
import { access, constants, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

// src/terminal/errors.ts
var JsonFileError = class extends UsageError {
  name = "JsonFileError";
  constructor(path, reason) {
    super(`--json ${path} cannot be written: ${reason}`);
  }
};

// src/terminal/json-file.ts
async function checkJsonFile(path) {
  const existing = await stat(path).catch(() => null);
  if (existing?.isDirectory()) throw new JsonFileError(path, "it is a directory; expected a file");
  const directory = dirname(path);
  await access(directory, constants.W_OK).catch((error) => {
    const reason = error.code === "ENOENT" ? "does not exist" : `is not writable (${error.code})`;
    throw new JsonFileError(path, `directory ${directory} ${reason}`);
  });
}
function jsonText(value) {
  return `${JSON.stringify(value, null, 2)}
`;
}
async function writeJsonFile(path, value) {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, jsonText(value), { flag: "wx" });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    const { code, message } = error;
    throw new JsonFileError(path, code ?? message);
  }
}

// src/commands/report.ts
async function checkJsonTarget(json) {
  if (typeof json === "string") await checkJsonFile(json);
}
async function tell(session2, report, json) {
  if (typeof json === "string") await writeJsonFile(json, report.result);
  session2.print(json === true ? jsonText(report.result) : `${report.text()}
`);
  for (const failure of report.failedChecks) session2.say(`check failed: ${failure}`);
  if (report.failedChecks.length > 0 && session2.exitCode === ExitCode.ok)
    session2.exitCode = ExitCode.checkFailed;
}

// src/commands/errors.ts
var UnknownScenarioError = class extends UsageError {
  name = "UnknownScenarioError";
  constructor(command, given, allowed) {
    const what = given === void 0 ? `${command} needs a scenario` : `${JSON.stringify(given)} is no scenario`;
    super(`${what}; allowed: ${allowed.join(", ")}`);
  }
};
var BundledTraceMissingError = class extends UsageError {
  name = "BundledTraceMissingError";
  constructor(from) {
    super(`no directory above ${from} has fixtures/sqlite.lackey.gz; is the package complete?`);
  }
};

// src/commands/scenario-command.ts
var SCENARIO_NAMES = ["access-tracking", "replay"];
function addScenarioParent(program, name, description) {
  return program.command(name).description(description).usage("<scenario> [options]").argument("[scenario]").allowUnknownOption().allowExcessArguments().action((given) => {
    throw new UnknownScenarioError(name, given, SCENARIO_NAMES);
  });
}
function addScenario(parent, scenario) {
  const examples = scenario.examples.map(
    ([args, does]) => [`kvm-age ${parent.name()} ${scenario.name} ${args}`, does]
  );
  return withExamples(
    parent.command(scenario.name).description(scenario.summary).allowExcessArguments(false),
    examples
  );
}

// src/commands/compare.ts
var MAX_RUNS = 50;
var DEFAULT_RUNS = 5;
function addPlanOptions(command) {
  return command.addOption(new Option4("--a <policy>", "first policy").choices(POLICIES).default("locked")).addOption(new Option4("--b <policy>", "second policy").choices(POLICIES).default("lockless")).addOption(
    new Option4("--runs <n>", `runs of each, in turn, 1 to ${MAX_RUNS}; fewer than 4 prove nothing`).argParser(integerOption(1, MAX_RUNS)).default(DEFAULT_RUNS)
  ).option(...JSON_OPTION);
}
function addCompare(parent, scenario, session2) {
  const command = addPlanOptions(scenario.addOptions(addScenario(parent, scenario)));
  command.action(async (flags) => {
    const options = scenario.resolve(flags);
    const json = flags.json;
    await checkJsonTarget(json);
    const plan = { a: flags.a, b: flags.b, runs: flags.runs };
    const { result, failedChecks } = await session2.work(
      (context) => compareScenario(scenario, options, plan, context)
    );
    const text = () => compareText(result, session2.style);
    await tell(session2, { result, failedChecks, text }, json);
  });
}
function addCompareCommand(program, session2) {
  const compare = addScenarioParent(
    program,
    "compare",
    "run a scenario under two policies in turn and compare"
  );
  withExamples(compare, [
    ["kvm-age compare access-tracking -p -b 512M", "locked against lockless aging, 5 runs each"],
    ["kvm-age compare replay --trace app.lackey.gz --runs 8", "the same for a recorded program"],
    ["kvm-age compare access-tracking --a locked --b locked", "how much this machine differs from itself"]
  ]);
  addCompare(compare, accessTracking, session2);
  addCompare(compare, replay, session2);
}

// src/commands/decode.ts
import {
  formatSpte,
  formatSpteExplanation,
  linux73 as linux732,
  linux615 as linux6152,
  parseSpte,
  toPgLevel
} from "@kvm-age/spte";
import { Option as Option5 } from "commander";

// src/decoding/decode-spte.ts
import {
  createSpteFormat,
  explainSpte as explainSpte2,
  linux73,
  linux615
} from "@kvm-age/spte";

// src/decoding/plausible.ts
import {
  checkSpteWritableInvariants,
  explainSpte,
  isEptVePossible,
  SHADOW_NONPRESENT_VALUE
} from "@kvm-age/spte";
function isPlausiblePresent(format, explanation) {
  if (explanation.fields.some((field) => field.name === "other bits")) return false;
  return explanation.kind !== "leaf" || checkSpteWritableInvariants(format, explanation.spte);
}
function isPlausible(format, spte, level) {
  if (isEptVePossible(format, spte)) return false;
  const explanation = explainSpte(format, spte, level);
  if (explanation.kind === "frozen" || explanation.kind === "mmio") return true;
  if (explanation.kind === "non-present") return spte === 0n || spte === SHADOW_NONPRESENT_VALUE;
  return isPlausiblePresent(format, explanation);
}

// src/decoding/decode-spte.ts
var DECODE_MODES = ["ept", "npt", "shadow", "pae"];
var ALL_RULE_SETS = [linux73, linux615];
function formatOf(mode, ruleSet, input) {
  const { adBits, execOnly, maxPhyAddr } = input;
  return createSpteFormat({
    mode,
    ruleSet,
    ...adBits === void 0 ? {} : { adBits },
    ...execOnly === void 0 ? {} : { execOnly },
    ...maxPhyAddr === void 0 ? {} : { maxPhyAddr }
  });
}
function candidateModes(input) {
  if (input.mode !== void 0) return [input.mode];
  return input.adBits === false || input.execOnly === true ? ["ept"] : DECODE_MODES;
}
function joinEqual(explanations, ruleSet) {
  const byMeaning = /* @__PURE__ */ new Map();
  for (const explanation of explanations) {
    const { kind, fields, states } = explanation;
    const words = fields.map(({ bits, name, meaning }) => [bits, name, meaning]);
    const key = JSON.stringify([kind, words, states]);
    byMeaning.set(key, [...byMeaning.get(key) ?? [], explanation]);
  }
  return [...byMeaning.values()].map((equal) => {
    const modes = equal.map(({ readAs }) => readAs.slice(0, readAs.indexOf(",")));
    return { ...equal[0], readAs: `${modes.join(" ")}, ${ruleSet.name}` };
  });
}
function explainUnder(spte, formats, level) {
  return joinEqual(
    formats.map((format) => explainSpte2(format, spte, level)),
    formats[0].rules
  );
}
function plausibleReadings(spte, input) {
  const ruleSets = input.ruleSet === void 0 ? ALL_RULE_SETS : [input.ruleSet];
  for (const ruleSet of ruleSets) {
    const formats = candidateModes(input).map((mode) => formatOf(mode, ruleSet, input));
    const plausible = formats.filter((format) => isPlausible(format, spte, input.level));
    if (plausible.length === 0) continue;
    const unexpected = ruleSet !== ruleSets[0];
    const note2 = unexpected ? `not a value of ${ruleSets[0].name}; read under ${ruleSet.name}` : null;
    return { spte, readings: explainUnder(spte, plausible, input.level), note: note2 };
  }
  const fallback = formatOf("ept", ruleSets[0], input);
  const names = ruleSets.map(({ name }) => name).join(" or ");
  const note = `not a value that ${names} writes in any mode; read as ept`;
  return { spte, readings: explainUnder(spte, [fallback], input.level), note };
}
function decodeSpte(spte, input) {
  if (input.mode === void 0) return plausibleReadings(spte, input);
  const format = formatOf(input.mode, input.ruleSet ?? linux73, input);
  return { spte, readings: explainUnder(spte, [format], input.level), note: null };
}

// src/results/decode-result.ts
import { z as z13 } from "zod";
var DECODE_SCHEMA_ID = "kvm-age/decode@1";
var fieldSchema = z13.strictObject({
  bits: z13.string().describe("bit positions, e.g. 51:12"),
  name: z13.string(),
  value: z13.string().describe("hexadecimal, shifted down to bit 0"),
  meaning: z13.string()
});
var readingSchema = z13.strictObject({
  readAs: z13.string().describe("MMU modes and rule set under which this is the meaning"),
  kind: z13.enum(["leaf", "non-leaf", "mmio", "frozen", "non-present", "pdpte"]),
  level: z13.int().min(1).max(5).nullable(),
  fields: z13.array(fieldSchema),
  states: z13.array(z13.string())
});
var decodeResultSchema = z13.strictObject({
  schema: z13.literal(DECODE_SCHEMA_ID),
  sptes: z13.array(
    z13.strictObject({
      spte: z13.string().describe("0x and 16 hexadecimal digits"),
      readings: z13.array(readingSchema),
      note: z13.string().nullable()
    })
  )
});

// src/commands/decode.ts
var RULE_SET_VALUES = { "linux-6.15": linux6152, "linux-7.3": linux732 };
function decodeInput(flags) {
  return {
    adBits: flags.ad,
    execOnly: flags.execOnly === true,
    ...flags.mode === void 0 ? {} : { mode: flags.mode },
    ...flags.ruleSet === void 0 ? {} : { ruleSet: RULE_SET_VALUES[flags.ruleSet] },
    ...flags.level === void 0 ? {} : { level: toPgLevel(flags.level) },
    ...flags.maxphyaddr === void 0 ? {} : { maxPhyAddr: flags.maxphyaddr }
  };
}
function decodeResult(decoded) {
  const sptes = decoded.map(({ spte, readings, note }) => ({
    spte: formatSpte(spte),
    note,
    readings: readings.map(({ readAs, kind, level, fields, states }) => ({
      readAs,
      kind,
      level,
      states: [...states],
      fields: fields.map((field) => ({ ...field, value: `0x${field.value.toString(16)}` }))
    }))
  }));
  return { schema: DECODE_SCHEMA_ID, sptes };
}
function decodeText(decoded) {
  const blocks = decoded.flatMap(({ readings, note }) => {
    const texts = readings.map(formatSpteExplanation);
    return note === null ? texts : [`${texts[0]}
  - ${note}`, ...texts.slice(1)];
  });
  return `${blocks.join("\n\n")}
`;
}
function addOptions(command) {
  return command.addOption(
    new Option5("--mode <mode>", "MMU mode (default: every mode in which the value makes sense)").choices(
      DECODE_MODES
    )
  ).option("--no-ad", "EPT of a CPU without Accessed and Dirty bits").option("--exec-only", "EPT with execute-only entries").addOption(
    new Option5("--rule-set <kernel>", "kernel that wrote it (default: linux-7.3, else 6.15)").choices(
      RULE_SETS
    )
  ).addOption(new Option5("--level <n>", "level of its table, 1 to 5").argParser(integerOption(1, 5))).addOption(
    new Option5(
      "--maxphyaddr <n>",
      "physical address bits, 32 to 52 (default: 46 for EPT, else 48)"
    ).argParser(integerOption(32, 52))
  ).option("--json", "as JSON");
}
function addDecodeCommand(program, session2) {
  const decode = program.command("decode").description("explain shadow page-table entries (SPTEs) in words").argument("<spte...>", "up to 16 hexadecimal digits, 0x and _ allowed");
  withExamples(addOptions(decode), [
    ["kvm-age decode 0x80a0000012345f77", "in every mode in which KVM could have written it"],
    ["kvm-age decode --mode ept --no-ad --level 1 0xd0f0000012345a70", "an access-tracked EPT entry"],
    ["kvm-age decode --rule-set linux-6.15 8600000012345b77", "as Linux 6.15 wrote it"]
  ]);
  decode.action((texts, flags) => {
    const input = decodeInput(flags);
    const decoded = texts.map((text) => decodeSpte(parseSpte(text), input));
    session2.print(flags.json === true ? jsonText(decodeResult(decoded)) : decodeText(decoded));
  });
}

// src/commands/bundled-trace.ts
import { existsSync } from "node:fs";
import { dirname as dirname2, join } from "node:path";
import { fileURLToPath } from "node:url";
var TRACE = join("fixtures", "sqlite.lackey.gz");
function bundledTrace() {
  const start = dirname2(fileURLToPath(import.meta.url));
  for (let directory = start; directory !== dirname2(directory); directory = dirname2(directory)) {
    if (existsSync(join(directory, TRACE))) return join(directory, TRACE);
  }
  throw new BundledTraceMissingError(start);
}

// src/commands/demo.ts
var PLAN = { a: "locked", b: "lockless", runs: 5 };
var MMU = {
  vcpus: 1,
  policy: "lockless",
  mmuMode: "ept",
  adBits: true,
  ruleSet: "linux-7.3",
  seed: DEFAULT_SEED,
  lockdep: false,
  sanitizer: false
};
var ACCESS_TRACKING = accessTrackingOptionsSchema.parse({
  ...MMU,
  bytesPerVcpu: 512 * 1024 * 1024,
  overlap: false,
  agingDuringFaults: true,
  backing: "anonymous",
  agers: 1,
  tooManyIdle: "fail"
});
var RESIDENT_PERCENT = 75;
function replayOptions() {
  return {
    ...MMU,
    trace: bundledTrace(),
    ageEveryMs: 50,
    reclaimEveryMs: 20,
    memoryLimit: { unit: "percent", value: RESIDENT_PERCENT },
    repeat: 1
  };
}
async function compareBoth(context) {
  const first = await compareScenario(accessTracking, ACCESS_TRACKING, PLAN, context);
  return [first, await compareScenario(replay, replayOptions(), PLAN, context)];
}
function introduction(replayed) {
  const memory = formatBytes(ACCESS_TRACKING.bytesPerVcpu);
  return [
    "Aging a guest under mmu_lock (locked) against aging it without (lockless), on real threads.",
    `access-tracking: 1 vCPU populates ${memory} while 1 thread ages it. replay: 1 vCPU replays a recorded run of`,
    `sqlite, aged every ${replayed.ageEveryMs} ms, reclaimed to ${RESIDENT_PERCENT} % every ${replayed.reclaimEveryMs} ms.`,
    ""
  ];
}
function demoText(comparisons, session2) {
  const results = comparisons.map(({ result }) => result);
  const shown = (metric) => metric.headline;
  const clauses = results.map(
    ({ scenario, metrics }) => `in ${scenario}, ${conclude(PLAN, metrics.filter(shown))}`
  );
  const measured = results.some(({ metrics }) => metrics.length > 0);
  return [
    ...warningLines(results, session2.style),
    ...introduction(replayOptions()),
    ...measured ? [compareTable(results, session2.style, shown), ""] : [],
    compareLegend(results),
    "",
    sentence(clauses.join("; "))
  ].join("\n");
}
function addDemoCommand(program, session2) {
  const demo = program.command("demo").description("locked against lockless aging in two scenarios, in under a minute");
  withExamples(demo, [["kvm-age demo", "one table and one sentence"]]);
  demo.action(async () => {
    const comparisons = await session2.work(compareBoth);
    const failedChecks = comparisons.flatMap((comparison) => comparison.failedChecks);
    const text = () => demoText(comparisons, session2);
    const result = comparisons.map((comparison) => comparison.result);
    await tell(session2, { result, failedChecks, text }, void 0);
  });
}

// src/commands/known-error.ts
import { AddressSanitizerError, LockdepSplatError } from "@kvm-age/machine";
import {
  InvalidSpteTextError,
  SpteFormatOptionRangeError,
  UnsupportedSpteFormatOptionError
} from "@kvm-age/spte";
import { CommanderError } from "commander";
var USAGE_ERRORS = [
  UsageError,
  InvalidSpteTextError,
  SpteFormatOptionRangeError,
  UnsupportedSpteFormatOptionError
];
var CHECK_ERRORS = [LockdepSplatError, AddressSanitizerError];
function endOfError(error) {
  if (error instanceof CommanderError) {
    return { exitCode: error.exitCode === 0 ? ExitCode.ok : ExitCode.usage, message: null };
  }
  if (USAGE_ERRORS.some((known) => error instanceof known)) {
    return { exitCode: ExitCode.usage, message: `kvm-age: ${error.message}` };
  }
  if (CHECK_ERRORS.some((known) => error instanceof known)) {
    return { exitCode: ExitCode.checkFailed, message: `check failed: ${error.message}` };
  }
  const detail = error instanceof Error ? error.stack ?? error.message : String(error);
  return { exitCode: ExitCode.checkFailed, message: `kvm-age: internal error, please report:
${detail}` };
}

// src/commands/list.ts
var POLICY_CHOICES = [
  {
    name: "locked",
    summary: "aging holds mmu_lock for write, as before the series",
    shows: ["kvm_handle_hva_range with KVM_MMU_LOCK, Linux 6.14 and older"]
  },
  {
    name: "lockless",
    summary: "aging takes no mmu_lock: the memslots under SRCU, the page tables under RCU",
    shows: ["KVM_MMU_LOCKLESS_AGING, Linux 6.15; patches 2 to 5 of version 9 of the series"]
  }
];
var MODE_CHOICES = [
  {
    name: "ept",
    summary: "Intel; with --no-ad without Accessed and Dirty bits",
    shows: ["kvm_mmu_set_ept_masks; without A/D: mark_spte_for_access_track, fast_page_fault"]
  },
  {
    name: "npt",
    summary: "AMD; always with Accessed and Dirty bits",
    shows: ["kvm_mmu_reset_all_pte_masks"]
  }
];
var RULE_SET_CHOICES = [
  {
    name: "linux-6.15",
    summary: "the series as merged: aging clears A with an atomic AND",
    shows: ["spte_needs_atomic_update, tdp_mmu_clear_spte_bits_atomic"]
  },
  {
    name: "linux-7.3",
    summary: "the default: aging is one compare-exchange that is not tried again",
    shows: ["kvm_tdp_mmu_age_spte, SPTE layout with user-execute"]
  }
];
function describe({ name, summary, shows }) {
  return { name, summary, shows };
}
function choices() {
  return {
    scenarios: [describe(accessTracking), describe(replay)],
    policies: POLICY_CHOICES,
    mmuModes: MODE_CHOICES,
    ruleSets: RULE_SET_CHOICES
  };
}
var HEADINGS = {
  scenarios: "Scenarios (run, compare)",
  policies: "Policies (--policy, --a, --b)",
  mmuModes: "MMU modes (--mmu-mode)",
  ruleSets: "Rule sets (--rule-set)"
};
function listText(session2) {
  const lines = Object.entries(choices()).flatMap(([kind, items]) => [
    paint(session2.style, "bold", HEADINGS[kind] ?? kind),
    ...items.flatMap(({ name, summary, shows }) => [
      `  ${name.padEnd(16)} ${summary}`,
      ...shows.map((text) => `  ${" ".repeat(16)} - ${text}`)
    ]),
    ""
  ]);
  return lines.join("\n");
}
function addListCommand(program, session2) {
  const list = program.command("list").description("list scenarios, policies, MMU modes and rule sets");
  list.option("--json", "as JSON");
  withExamples(list, [["kvm-age list", "everything that can be chosen, with the kernel functions it shows"]]);
  list.action((flags) => {
    session2.print(flags.json === true ? jsonText(choices()) : listText(session2));
  });
}

// src/commands/run.ts
function addRun(parent, scenario, session2) {
  const command = scenario.addOptions(addScenario(parent, scenario)).addOption(policyOption());
  command.option(...JSON_OPTION).action(async (flags) => {
    const options = scenario.resolve(flags);
    const json = flags.json;
    await checkJsonTarget(json);
    const result = await session2.work((context) => runScenario(scenario, options, context));
    const failedChecks = scenario.failedChecks(result);
    const text = () => scenario.format(result, session2.style);
    for (const warning of result.warnings) session2.say(`warning: ${warning}`);
    await tell(session2, { result, failedChecks, text }, json);
  });
}
function addRunCommand(program, session2) {
  const run = addScenarioParent(program, "run", "run a scenario once, on real threads");
  withExamples(run, [
    ["kvm-age run access-tracking -v 2 -b 64M", "the phases of access_tracking_perf_test"],
    ["kvm-age run replay --trace app.lackey.gz", "the recorded memory accesses of a real program"]
  ]);
  addRun(run, accessTracking, session2);
  addRun(run, replay, session2);
}

// src/commands/schema.ts
import { Argument } from "commander";

// src/results/published-schema.ts
import { z as z14 } from "zod";
var SCHEMAS = {
  "access-tracking": accessTrackingResultSchema,
  replay: replayResultSchema,
  compare: compareResultSchema,
  decode: decodeResultSchema
};
var SCHEMA_NAMES = Object.keys(SCHEMAS);
function publishedSchema(name) {
  return z14.toJSONSchema(SCHEMAS[name], { target: "draft-2020-12" });
}

// src/commands/schema.ts
function addSchemaCommand(program, session2) {
  const schema = program.command("schema").description("print the JSON Schema of a result").addArgument(new Argument("<result>", "kind of result").choices(SCHEMA_NAMES));
  withExamples(schema, [
    ["kvm-age schema access-tracking", "to check what run access-tracking --json prints"]
  ]);
  schema.action((name) => session2.print(jsonText(publishedSchema(name))));
}

// src/commands/program.ts
function createProgram(session2) {
  const program = new Command("kvm-age").description("KVM's aging of guest pages, with and without mmu_lock, on real threads").version(package_default.version).showSuggestionAfterError().exitOverride().configureOutput({
    writeOut: (text) => session2.print(text),
    writeErr: (text) => session2.say(text.trimEnd()),
    outputError: (text, write) => write(text.replace(/^error: /, "kvm-age: "))
  });
  withExamples(program, [
    ["kvm-age demo", "locked against lockless aging, in under a minute"],
    ["kvm-age run access-tracking -v 2 -b 64M", "the phases of access_tracking_perf_test"],
    ["kvm-age compare replay --trace app.lackey.gz", "two policies under a recorded workload"],
    ["kvm-age decode 0x80a0000012345f77", "a page-table entry in words"]
  ]);
  addRunCommand(program, session2);
  addCompareCommand(program, session2);
  addListCommand(program, session2);
  addDecodeCommand(program, session2);
  addSchemaCommand(program, session2);
  addDemoCommand(program, session2);
  return program;
}
async function runProgram(session2, args) {
  try {
    await createProgram(session2).parseAsync([...args], { from: "user" });
  } catch (error) {
    const { exitCode, message } = endOfError(error);
    if (message !== null) session2.say(message);
    session2.exitCode = exitCode;
  }
}

// src/commands/session.ts
function createSession() {
  const say = (line2) => {
    process.stderr.write(`${line2}
`);
  };
  const session2 = {
    print: (text) => process.stdout.write(text),
    say,
    style: styleFor(process.stdout, process.env),
    exitCode: ExitCode.ok,
    work: async (task) => {
      const progress = terminalProgress();
      const interruption = watchInterruption(say);
      try {
        return await task({ signal: interruption.signal, progress });
      } finally {
        progress.stop();
        interruption.release();
        if (interruption.signal.aborted) session2.exitCode = ExitCode.interrupted;
      }
    }
  };
  return session2;
}

// src/terminal/tolerate-broken-pipe.ts
function tolerateBrokenPipe(...streams) {
  for (const stream of streams) {
    stream.on("error", (error) => {
      if (error.code !== "EPIPE") throw error;
      process.exit();
    });
  }
}

// src/cli.ts
tolerateBrokenPipe(process.stdout, process.stderr);
var session = createSession();
await runProgram(session, process.argv.slice(2));
process.exitCode = session.exitCode;
