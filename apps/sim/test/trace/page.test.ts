import { describe, expect, test } from "vitest";
import { type TracePageResult, tracePageResultSchema } from "../../src/results/trace-page-result.js";
import {
  countMatches,
  KERNEL_TRACES,
  type KernelTraceFile,
  kernelTrace,
  textOf,
} from "./kit/kernel-traces.js";
import { runHere } from "./kit/run-here.js";

async function pageOf({ path }: KernelTraceFile, page: string): Promise<TracePageResult> {
  const { code, out, err } = await runHere("trace", "page", path, page, "--json");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  return tracePageResultSchema.parse(JSON.parse(out));
}

/** Lines of the text that match, numbered from 1. */
function linesOf(text: string, pattern: RegExp): number[] {
  return text.split("\n").flatMap((line, index) => (pattern.test(line) ? [index + 1] : []));
}

/** The notes begin with where the guest's memory stands; the selftests write none. */
const WITH_NOTES = KERNEL_TRACES.filter(({ name }) => !name.includes("/st_"));
const SELFTESTS = KERNEL_TRACES.filter(({ name }) => name.includes("/st_"));

describe.each(WITH_NOTES)("page gfn:40001 of $name", (trace) => {
  const text = textOf(trace);

  test("has every event about the frame, and every step of its SPTEs as the trace shows it", async () => {
    const { events, hvas } = await pageOf(trace, "gfn:40001");
    const shown = (name: string): number[] =>
      events.filter(({ event }) => event === name).map(({ line }) => line);
    const about = "(?:gfn 40001 level 1|gfn 40000 level [23]|gfn 0 level 4)";
    expect(shown("kvm_tdp_mmu_spte_changed")).toEqual(
      linesOf(text, new RegExp(`kvm_tdp_mmu_spte_changed: as id 0 ${about} `)),
    );
    const hva = /start pid.* hva=([0-9a-f]+)/.exec(text)![1]!;
    expect(hvas).toEqual([`0x${(BigInt(`0x${hva}`) + 4096n).toString(16)}`]);
    const leaves = events.filter(
      ({ event, spte }) => event === "kvm_tdp_mmu_spte_changed" && spte?.level === 1,
    );
    const values = leaves.map(({ spte }) => [BigInt(spte!.before!), BigInt(spte!.after)]);
    const inText = [...text.matchAll(/gfn 40001 level 1 old_spte ([0-9a-f]+) new_spte ([0-9a-f]+)$/gm)].map(
      ([, before, after]) => [BigInt(`0x${before}`), BigInt(`0x${after}`)],
    );
    expect(values).toEqual(inText);
  });

  test("has the calls of the host about its memory", async () => {
    const { events, hvas } = await pageOf(trace, "gfn:40001");
    const page = BigInt(hvas[0]!);
    const calls = [
      ...text.matchAll(/(?:kvm_age_hva|kvm_unmap_hva_range): .*: 0x([0-9a-f]+) -- 0x([0-9a-f]+)$/gm),
    ];
    const about = calls.filter(
      ([, start, end]) => BigInt(`0x${start}`) < page + 4096n && page < BigInt(`0x${end}`),
    );
    const shown = events.filter(({ event }) => event === "kvm_age_hva" || event === "kvm_unmap_hva_range");
    expect(shown.length).toBe(about.length);
    expect(events.map(({ line }) => line)).toEqual(events.map(({ line }) => line).sort((a, b) => a - b));
  });
});

describe.each(SELFTESTS)("a page of $name", (trace) => {
  test("is found by the frame that the trace maps first", async () => {
    const text = textOf(trace);
    const [, gfn] = /kvm_mmu_spte_requested: gfn ([0-9a-f]+) /.exec(text)!;
    const { events } = await pageOf(trace, `gfn:${gfn}`);
    const requested = countMatches(text, new RegExp(`kvm_mmu_spte_requested: gfn ${gfn} .*level 1`));
    expect(events.filter(({ event }) => event === "kvm_mmu_spte_requested").length).toBe(requested);
  });
});

describe("the text", () => {
  const trace = kernelTrace("linux-7.3-ept-noad-acctrack/age4k");

  test("shows each value in words and each changed bit", async () => {
    const { code, out } = await runHere("trace", "page", trace.path, "gfn:40003");
    expect(code).toBe(0);
    expect(out).toMatch(
      /^gfn 0x40003, gpa 0x40003000, hva 0x7f4123a03000\nlinux-7\.3, EPT without A\/D bits, TDP MMU\n/,
    );
    expect(out).toContain("  page aged at level 1  (line 546, agevm-488 [000])\n");
    expect(out).toContain(
      "              0x90a00000016a7f77 ->\n              0xd0f00000016a7a70: leaf, pfn 0x16a7, aged, access-tracked",
    );
    expect(out).toMatch(/^ +62 {2}saved XU {2}0x0 -> 0x1 {2}nothing saved -> XU returns on restore$/m);
    expect(out).toMatch(/\n\n\d+ events\n$/);
  });

  test.each(["gpa:0x40003abc", "hva:7f4123a03008", "40003", "7f4123a03000"])(
    "finds the same page as %s",
    async (name) => {
      const { code, out } = await runHere("trace", "page", trace.path, name);
      expect(code).toBe(0);
      expect(out.startsWith("gfn 0x40003, ")).toBe(true);
    },
  );

  test("finds a page by a slot that the user gives", async () => {
    const selftest = kernelTrace("linux-7.3-ept-ad/st_access_v1_1M_nolru");
    const given = await runHere(
      "trace",
      "page",
      selftest.path,
      "hva:7e0000004000",
      "--slot",
      "fcfff00:7e0000000000:256",
    );
    expect(given.code).toBe(0);
    expect(given.out.startsWith("gfn 0xfcfff04, gpa 0xfcfff04000, hva ")).toBe(true);
  });

  test.each([
    ["gfn:99999", "gfn:99999 is not in the trace; the trace maps gfns 0x1 to 0x6, "],
    [
      "hva:1000",
      "hva:1000 is not known to be guest memory (known: 64 page(s) from 0x7f4123a00000 (gfn 0x40000)",
    ],
    ["nonsense", '"nonsense" names no page; expected gfn:, gpa: or hva:'],
  ])("of %s says what there is, exit code 2", async (name, message) => {
    const { code, out, err } = await runHere("trace", "page", trace.path, name);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(message);
    expect(err).toMatch(/^kvm-age: [^\n]*\n$/);
  });
});
