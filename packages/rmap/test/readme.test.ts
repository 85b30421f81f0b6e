import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as rmap from "../src/index.js";
import { text } from "./readme.example.js";

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), "utf8");
}

const readme = read("../README.md");

/** First fenced block of the language in the README. */
function block(language: string): string {
  return new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "ms").exec(readme)![1]!;
}

/** Names in the table of exports. */
function tabledNames(): string[] {
  const table = readme.slice(readme.indexOf("## Exports"), readme.indexOf("`pteListAdd` looks"));
  return [...table.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
}

describe("README", () => {
  it("shows the example that this test has run, with its output", () => {
    expect(block("ts")).toBe(read("./readme.example.ts").replace("../src/index.js", "@kvm-age/rmap"));
    expect(block("text")).toBe(`${text}\n`);
  });

  it("lists what is exported, and nothing else", () => {
    expect(tabledNames().sort()).toEqual(Object.keys(rmap).sort());
  });
});
