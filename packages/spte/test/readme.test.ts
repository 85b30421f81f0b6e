import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { text } from "./readme.example.js";

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), "utf8");
}

/** First fenced block of the language in the README. */
function block(language: string): string {
  return new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "ms").exec(read("../README.md"))![1]!;
}

/** White space that only the formatter put between the imported names is not compared. */
function withoutLayout(source: string): string {
  return source.replaceAll(/\s+/g, " ").replaceAll(", }", " }");
}

describe("README", () => {
  it("shows the example that this test has run", () => {
    const example = read("./readme.example.ts").replace("../src/index.js", "@kvm-age/spte");
    expect(withoutLayout(block("ts"))).toBe(withoutLayout(example));
  });

  it("shows the example's output", () => {
    expect(block("text")).toBe(`${text}\n`);
  });
});
