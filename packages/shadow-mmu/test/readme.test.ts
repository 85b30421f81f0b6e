import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as shadowMmu from "../src/index.js";
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
  const table = readme.slice(readme.indexOf("## Exports"));
  return [...table.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
}

describe("README", () => {
  it("shows the example that this test has run, with its output", () => {
    expect(block("ts")).toBe(read("./readme.example.ts").replace("../src/index.js", "@kvm-age/shadow-mmu"));
    expect(block("text")).toBe(`${text}\n`);
  });

  it("lists nothing that is not exported", () => {
    expect(tabledNames().length).toBeGreaterThan(40);
    expect(Object.keys(shadowMmu)).toEqual(expect.arrayContaining(tabledNames()));
  });

  it("gives the defaults of the options", () => {
    for (const [option, value] of Object.entries(shadowMmu.defaultShadowMmuOptions)) {
      if (!readme.includes(`| \`${option}\``)) continue;
      const shown = typeof value === "object" ? "mergedVolatileRule" : String(value);
      expect(readme).toMatch(new RegExp(`\\| \`${option}\` +\\| \`${shown}\` `));
    }
  });
});
