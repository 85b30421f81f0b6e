import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { LEGALITY_RULES } from "../../src/index.js";

const README = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
const SECTION = README.slice(README.indexOf("## Legality"), README.indexOf("## Exports"));

test("the README lists every rule with its statement", () => {
  const rows = [...SECTION.matchAll(/^\| `([a-z-]+)`\s*\| (.*?)\s*\|$/gm)].map(([, name, statement]) => [
    name,
    statement,
  ]);
  expect(rows).toEqual(Object.entries(LEGALITY_RULES).map(([name, { statement }]) => [name, statement]));
});
