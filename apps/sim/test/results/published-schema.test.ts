import { readdir, readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { accessTrackingResultSchema } from "../../src/results/access-tracking-result.js";
import { busyThreadsWarning } from "../../src/results/busy-threads-warning.js";
import { mmuStressResultSchema } from "../../src/results/mmu-stress-result.js";
import { nestedResultSchema } from "../../src/results/nested-result.js";
import { publishedSchema, SCHEMA_NAMES } from "../../src/results/published-schema.js";
import { replayResultSchema } from "../../src/results/replay-result.js";
import {
  accessTrackingResult,
  agingDuringFaultsResult,
  mmuStressResult,
  nestedResult,
  replayResult,
} from "./results.js";

const SCHEMAS = new URL("../../schemas/", import.meta.url);

describe("published schemas", () => {
  test.each(SCHEMA_NAMES)("schemas/%s-result.schema.json is what `kvm-age schema` prints", async (name) => {
    const committed = await readFile(new URL(`${name}-result.schema.json`, SCHEMAS), "utf8");
    expect(JSON.parse(committed)).toEqual(JSON.parse(JSON.stringify(publishedSchema(name))));
  });

  test("there are no others", async () => {
    const expected = SCHEMA_NAMES.map((name) => `${name}-result.schema.json`);
    expect((await readdir(SCHEMAS)).sort()).toEqual([...expected].sort());
  });
});

describe("result schemas", () => {
  test("take complete results", () => {
    const result = accessTrackingResult();
    expect(accessTrackingResultSchema.parse(result)).toEqual(result);
    expect(accessTrackingResultSchema.safeParse(agingDuringFaultsResult()).success).toBe(true);
    expect(replayResultSchema.safeParse(replayResult()).success).toBe(true);
    expect(mmuStressResultSchema.safeParse(mmuStressResult()).success).toBe(true);
    expect(nestedResultSchema.safeParse(nestedResult()).success).toBe(true);
  });

  test("refuse another version, unknown fields and impossible numbers", () => {
    const refused = [
      { ...accessTrackingResult(), schema: "kvm-age/access-tracking@1" },
      { ...accessTrackingResult(), extra: 1 },
      accessTrackingResult({ seed: -1 }),
      accessTrackingResult({ seed: 1.5 }),
      accessTrackingResult({ phases: [{ name: "x", seconds: Number.NaN, vcpus: [] }] }),
    ];
    for (const result of refused) expect(accessTrackingResultSchema.safeParse(result).success).toBe(false);
  });
});

describe("busyThreadsWarning", () => {
  test("speaks up when threads outnumber cores", () => {
    expect(busyThreadsWarning(2, 2)).toBeNull();
    expect(busyThreadsWarning(3, 2)).toContain("3 busy threads share 2 cores");
    expect(busyThreadsWarning(2, 1)).toContain("share 1 core:");
  });
});
