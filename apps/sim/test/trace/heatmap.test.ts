import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type TraceHeatmapResult, traceHeatmapResultSchema } from "../../src/results/trace-heatmap-result.js";
import { KERNEL_TRACES, type KernelTraceFile, kernelTrace, textOf } from "./kit/kernel-traces.js";
import { runHere } from "./kit/run-here.js";

async function heatmapOf({ path }: KernelTraceFile, ...options: string[]): Promise<TraceHeatmapResult> {
  const { code, out } = await runHere("trace", "heatmap", path, "--json", ...options);
  expect(code).toBe(0);
  return traceHeatmapResultSchema.parse(JSON.parse(out));
}

function youngFrames({ rows }: TraceHeatmapResult): number {
  return rows.flatMap(({ cells }) => cells).reduce<number>((sum, cell) => sum + (cell ?? 0), 0);
}

/** Frames that were young, by what the trace prints: SPTEs that aging changed, or else probes that returned true. */
function youngInText(trace: KernelTraceFile): number {
  let [young, asked] = [0, 0];
  const inCall = new Set<string>();
  for (const line of textOf(trace).split("\n")) {
    const pid = /-(\d+) +\[/.exec(line)?.[1] ?? "";
    if (line.includes(": kvm_age_hva: ")) inCall.add(pid);
    const range = /: age_gfn: .* start=0x([0-9a-f]+) end=0x([0-9a-f]+)/.exec(line);
    if (range !== null) asked = Number.parseInt(range[2]!, 16) - Number.parseInt(range[1]!, 16);
    const change = /kvm_tdp_mmu_spte_changed: .* level (\d) old_spte [0-9a-f]+ new_spte [0-9a-f]+$/.exec(
      line,
    );
    if (change !== null && inCall.has(pid)) young += change[1] === "2" ? 512 : 1;
    const shadow = /: rmap_age_ret: .* ret=(\d+)/.exec(line);
    if (shadow !== null && (BigInt(shadow[1]!) & 0xffn) !== 0n) young += asked;
    if (
      /: (?:clear_young_ret|kvm_page_fault|kvm_unmap_hva_range|tracing_mark_write|kvm_mmu_prepare_zap_page): /.test(
        line,
      )
    ) {
      inCall.delete(pid);
    }
  }
  return young;
}

describe.each(KERNEL_TRACES)("heat map of $name", (trace) => {
  test("has every young answer that the trace shows, once", async () => {
    const map = await heatmapOf(trace);
    expect(youngFrames(map)).toBe(youngInText(trace));
    expect(map.max).toBe(Math.max(0, ...map.rows.flatMap(({ cells }) => cells.map((cell) => cell ?? 0))));
  });
});

test("puts ages where and when they were: linux-7.3-npt-tdpmmu/age4k", async () => {
  // 64 pages are young at first; then 16 that were read, 16 that were written, 8 that were executed.
  const map = await heatmapOf(kernelTrace("linux-7.3-npt-tdpmmu/age4k"), "--rows", "8", "--columns", "512");
  expect(map.rows.map(({ gfn, pages }) => [gfn, pages])).toEqual(
    Array.from({ length: 8 }, (_, row) => [`0x${(0x40000 + 8 * row).toString(16)}`, 8]),
  );
  const byRow = map.rows.map(({ cells }) => cells.reduce<number>((sum, cell) => sum + (cell ?? 0), 0));
  expect(byRow).toEqual([16, 16, 16, 16, 16, 8, 8, 8]);
});

test("keeps to the time window", async () => {
  const trace = kernelTrace("linux-7.3-npt-tdpmmu/age4k");
  const all = await heatmapOf(trace, "--columns", "512");
  const half = (all.fromNs + (all.columns * all.columnNs) / 2) / 1e9;
  const [before, after] = [
    await heatmapOf(trace, "--to", half.toFixed(9)),
    await heatmapOf(trace, "--from", half.toFixed(9)),
  ];
  expect(youngFrames(before) + youngFrames(after)).toBe(youngFrames(all));
  expect(youngFrames(before)).toBeGreaterThan(0);
  expect(youngFrames(after)).toBeGreaterThan(0);
});

describe("drawings", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "kvm-age-heatmap-"));
  });
  afterAll(() => rm(directory, { recursive: true }));

  test("a terminal's has a frame, labels, a legend with units, and the width that was asked for", async () => {
    const { path } = kernelTrace("linux-7.3-npt-tdpmmu/age4k");
    const { out } = await runHere("trace", "heatmap", path, "--rows", "8", "--columns", "40");
    const lines = out.split("\n");
    expect(lines.filter((line) => /^gfn 0x400[0-9a-f]{2} {2}│.{1,40}│$/.test(line))).toHaveLength(8);
    expect(out).toMatch(/^Young answers: guest frame × time\nlinux-7\.3, NPT, TDP MMU\n/);
    expect(out).toMatch(/each time they were: · none {2}[░▒▓█] 1/);
    expect(out).toMatch(/A row is 8 guest frames, a column [\d.,]+ [mµ]s\n$/);
    expect(out).toMatch(/^ +\d+\.\d{6} s +\d+\.\d{6} s$/m);
    expect(out.includes("\u001b")).toBe(false);
  });

  test("SVG and HTML stand alone, are labelled, and have a cell for each that was asked about", async () => {
    const trace = kernelTrace("linux-7.3-npt-shadowmmu/age4k");
    const [svg, html] = [join(directory, "heat.svg"), join(directory, "heat.html")];
    const map = await heatmapOf(trace, "--svg", svg, "--html", html);
    const drawing = await readFile(svg, "utf8");
    const cells = map.rows.flatMap(({ cells: row }) => row).filter((cell) => cell !== null).length;
    expect([...drawing.matchAll(/<rect [^>]*><title>/g)].length).toBe(cells);
    expect(drawing).toMatch(/^<svg [^>]*role="img" aria-labelledby="heatmap-title heatmap-description"/);
    expect(drawing).toContain("guest frame (gfn)");
    expect(drawing).toContain("time of the trace clock, in seconds");
    expect(drawing).not.toMatch(/NaN|Infinity|undefined/);
    expect(drawing.match(/https?:[^"]*/g)).toEqual(["http://www.w3.org/2000/svg"]);
    const page = await readFile(html, "utf8");
    expect(page).toContain(drawing.trimEnd());
    expect(page).toContain('<html lang="en">');
    expect(page.match(/<tr><th scope="row">/g)).toHaveLength(map.rows.length);
  });

  test("that cannot be written end in exit code 2", async () => {
    const { path } = kernelTrace("linux-7.3-npt-tdpmmu/age4k");
    const { code, err } = await runHere("trace", "heatmap", path, "--svg", "/no/such/directory/x.svg");
    expect({ code, err }).toEqual({
      code: 2,
      err: "kvm-age: drawing /no/such/directory/x.svg cannot be written: ENOENT\n",
    });
  });

  test("of a trace without answers say why there is nothing", async () => {
    const { path } = kernelTrace("linux-7.3-nonpt/st_access_v1_1M_nolru");
    const svg = join(directory, "empty.svg");
    const { code, out } = await runHere("trace", "heatmap", path, "--svg", svg);
    expect(code).toBe(0);
    expect(out).toMatch(
      /^Nothing to draw: the 13,786 aging calls show neither which guest frames .* only probes of kvm_age_gfn/,
    );
    expect(await readFile(svg, "utf8")).not.toMatch(/NaN|Infinity/);
  });
});
