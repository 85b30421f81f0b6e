import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as testKit from "../src/index.js";
import { text } from "./readme.example.js";

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), "utf8");
}

const readme = read("../README.md");

/** First fenced block of the language in the README. */
function block(language: string): string {
  return new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "ms").exec(readme)![1]!;
}

/** Names in the first column of the table of exports. */
function tabledNames(): string[] {
  const table = readme.slice(readme.indexOf("## Exports"));
  return [...table.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name!);
}

describe("README", () => {
  it("shows the example that this test has run, with its output", () => {
    expect(block("ts")).toBe(read("./readme.example.ts").replace("../src/index.js", "@kvm-age/test-kit"));
    expect(block("text")).toBe(`${text}\n`);
  });

  it("lists what is exported, and nothing else", () => {
    expect(tabledNames().sort()).toEqual(Object.keys(testKit).sort());
  });
});
