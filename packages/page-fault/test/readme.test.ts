import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as pageFault from "../src/index.js";
import { text } from "./readme.example.js";

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), "utf8");
}

const readme = read("../README.md");

/** First fenced block of the language in the README. */
function block(language: string): string {
  return new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "ms").exec(readme)![1]!;
}

/** The package's own name becomes a path, and the formatter sorts imports by it. */
function normalise(code: string): string {
  const lines = code.replace('"@kvm-age/page-fault"', '"../src/index.js"').split("\n");
  const isImport = (line: string): boolean => line.startsWith("import");
  return [...lines.filter(isImport).sort(), ...lines.filter((line) => !isImport(line))].join("\n");
}

/** Names in the table of exports. */
function tabledNames(): string[] {
  const table = readme.slice(readme.indexOf("## Exports"), readme.indexOf("\nTypes:"));
  return [...table.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
}

describe("README", () => {
  it("shows the example that this test has run, with its output", () => {
    expect(normalise(block("ts"))).toBe(normalise(read("./readme.example.ts")));
    expect(block("text")).toBe(`${text}\n`);
  });

  it("lists exactly what is exported", () => {
    expect(tabledNames().sort()).toEqual(Object.keys(pageFault).sort());
  });
});
