import { expect, test } from "vitest";
import { KERNEL_TRACES, kernelTrace, textOf } from "./kit/kernel-traces.js";
import { runHere } from "./kit/run-here.js";

const ANNOTATION = /^ {24}\| /;

test.each(KERNEL_TRACES)(
  "decode of $name is the trace itself, with words below every SPTE",
  async (trace) => {
    const { code, out, err } = await runHere("trace", "decode", trace.path);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    const lines = out.split("\n");
    const kept = lines.filter((line) => !ANNOTATION.test(line));
    expect(kept.join("\n") === textOf(trace)).toBe(true);
    const annotated = lines.filter(
      (_, index) => ANNOTATION.test(lines[index + 1] ?? "") && !ANNOTATION.test(lines[index]!),
    );
    const withSptes = kept.filter((line) =>
      /: (?:kvm_tdp_mmu_spte_changed|kvm_mmu_set_spte|fast_page_fault|kvm_mmu_split_huge_page|check_mmio_spte|tracing_mark_write: agevm: spte): ?/.test(
        line.replace("agevm: spte ", "agevm: spte: "),
      ),
    );
    expect(annotated).toEqual(withSptes);
  },
);

test("the words are those of the kernel and MMU that wrote the trace", async () => {
  const { out } = await runHere("trace", "decode", kernelTrace("linux-7.3-ept-noad-acctrack/age_thp").path);
  expect(out).toMatch(
    /old_spte 90a0000009000ff7 new_spte d0f0000009000af0\n {24}\| page aged: saved XU 0x0 -> 0x1, .*R 0x1 -> 0x0\n {24}\| now leaf, pfn 0x9000, aged, access-tracked, /,
  );
  const { out: as612 } = await runHere(
    "trace",
    "decode",
    kernelTrace("linux-6.12-npt-tdpmmu/memslot4k").path,
  );
  expect(as612).toMatch(
    /old_spte 8000000000000000 new_spte 80000000000005a0\n {24}\| empty entry frozen: frozen, /,
  );
});
