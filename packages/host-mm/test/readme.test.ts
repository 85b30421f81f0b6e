import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { firstReport, refault, violations } from "./readme.example.js";

it("the example of the README runs and is the one that is shown", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const shown = /```ts\n([\s\S]*?)```/.exec(readme)?.[1];
  const example = readFileSync(new URL("./readme.example.ts", import.meta.url), "utf8");
  expect(shown).toBe(example.replace("../src/index.js", "@kvm-age/host-mm"));
  expect(firstReport).toEqual({ reclaimed: 1, keptYoung: 1, scanned: 2, swappedOut: 1 });
  expect(refault).toMatchObject({ error: null, mapWritable: true });
  expect(violations).toEqual([]);
});
