import { checkTrace, parseTraceText, type TraceIdentity } from "@kvm-age/trace";
import { describe, expect, test } from "vitest";
import { startReplay } from "../../src/conformance/replay/replay-trace.js";
import { type AgevmConfig, modeOf, usesTdpMmu } from "./agevm/agevm-config.js";
import { agevmTrace } from "./agevm/agevm-script.js";
import { interleavedTrace } from "./agevm/interleave.js";
import { MATRIX_SAMPLE, WHOLE_MATRIX } from "./agevm/matrix.js";

/** The whole matrix takes about two and a half minutes: `AGEVM_MATRIX=whole npx vitest run --project sim agevm`. */
const MATRIX = process.env["AGEVM_MATRIX"] === "whole" ? WHOLE_MATRIX : MATRIX_SAMPLE;

/** Before 7.3 only the TDP MMU's events tell how a kernel ages, by what is printed under `mmu_lock`. */
function kernelThatShows({ kernel, mmu }: AgevmConfig): AgevmConfig["kernel"] {
  return kernel === "linux-6.15" && !usesTdpMmu(mmu) ? "linux-6.12" : kernel;
}

function expectIdentity(identity: TraceIdentity, config: AgevmConfig): void {
  const { mmu } = config;
  expect(identity).toMatchObject({
    kernel: kernelThatShows(config),
    mode: modeOf(mmu),
    adBits: mmu !== "ept-noad",
    tdpMmu: usesTdpMmu(mmu),
  });
}

/** Replays a trace, and expects that everything agrees. */
function expectConforming(text: string, config: AgevmConfig): void {
  const { records } = parseTraceText(text, { strict: true });
  const { identity, steps, report } = startReplay(records);
  for (const _ of steps);
  expectIdentity(identity, config);
  expect(report.mismatches.slice(0, 3)).toEqual([]);
  expect(report.counts.event.compared).toBeGreaterThanOrEqual(15);
  expect(report.counts.entry.compared + report.counts.idle.compared).toBeGreaterThan(0);
  expect(checkTrace(records, identity).violations.slice(0, 3)).toEqual([]);
}

describe("a VM like the recorded one, on our machine, leaves a trace that can be replayed", () => {
  test.each(MATRIX)("$name", ({ config, actions }) => {
    expectConforming(agevmTrace(config, actions), config);
  });
});

describe("so does it if the lines of tasks that run at once come in another order", () => {
  const races = MATRIX.filter(({ config }) => config.vcpus > 1);
  test.each(races)("$name", ({ config, actions }) => {
    const text = agevmTrace(config, actions);
    for (const seed of [1, 2]) {
      const interleaved = interleavedTrace(text, config.kernel, seed);
      expect(interleaved).not.toBe(text);
      expectConforming(interleaved, config);
    }
  });
});

describe("the sample has what the whole matrix has:", () => {
  type Choice = (one: (typeof WHOLE_MATRIX)[number]) => string;
  const choices: readonly (readonly [string, Choice])[] = [
    ["every MMU of every kernel", ({ config }) => `${config.kernel} ${config.mmu}`],
    ["every guest under every MMU", ({ config }) => `${config.mmu} ${config.guest}`],
    ["every scenario", ({ actions }) => actions],
    ["every setting", ({ config }) => JSON.stringify(config.tuning)],
  ];
  test.each(choices)("%s", (_, choice) => {
    expect(new Set(MATRIX_SAMPLE.map(choice))).toEqual(new Set(WHOLE_MATRIX.map(choice)));
  });
});
