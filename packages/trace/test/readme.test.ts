import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it, vi } from "vitest";

const textOf = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

const AGED = [
  "line 86: gfn 40000, level 2, by agevm",
  "line 94: gfn 40200, level 2, by agevm",
  "line 132: gfn 40000, level 2, by agevm",
  "line 172: gfn 40200, level 2, by agevm",
];

it("runs the README's example", async () => {
  const block = /```ts\n([\s\S]*?)```/.exec(textOf("../README.md"))?.[1];
  expect(textOf("./readme.example.ts").replace('"../src/index.js"', '"@kvm-age/trace"')).toBe(block);
  vi.stubEnv(
    "TRACE",
    fileURLToPath(new URL("./fixtures/linux-7.3-npt-tdpmmu/age_thp.trace.gz", import.meta.url)),
  );
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  const { aged, lines, damaged, lost } = await import("./readme.example.js");
  expect(aged).toEqual(AGED);
  expect(log.mock.calls[0]).toEqual([
    "           agevm-630     [000] ...1.     6.434789: kvm_tdp_mmu_spte_changed: as id 0 gfn 40000 level 2 old_spte 10d800ee7 new_spte 10d800ec7",
  ]);
  expect({ lines, damaged: damaged.count, lost }).toEqual({
    lines: 196,
    damaged: 0,
    lost: { events: 0, unknown: 0 },
  });
});
