import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import aged from "./readme.example.js";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

/** The package's own name becomes a path, and the formatter sorts imports by it. */
function normalise(code: string): string {
  const lines = code.replace('"@kvm-age/memslot"', '"../src/index.js"').trim().split("\n");
  const isImport = (line: string): boolean => line.startsWith("import");
  return [...lines.filter(isImport).sort(), ...lines.filter((line) => !isImport(line))].join("\n");
}

it("the README's example is a program that runs", () => {
  const block = /```ts\n(.*?)```/s.exec(read("../README.md"))![1]!;
  expect(normalise(read("./readme.example.ts"))).toBe(normalise(block));
  expect(aged).toEqual([
    [0x103, 0x105],
    [0x803, 0x805],
  ]);
});
