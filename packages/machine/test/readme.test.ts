import { readFileSync } from "node:fs";
import { expect, it, vi } from "vitest";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

it("the README's example is the program that runs here, and prints what it says", async () => {
  const block = /```ts\n(.*?)```/s.exec(read("../README.md"))?.[1];
  expect(block).toBe(read("./readme.example.ts").replace("../src/index.js", "@kvm-age/machine"));
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  await import("./readme.example.js");
  expect(log.mock.calls).toEqual([[1, "8000000000000007"]]);
  log.mockRestore();
});
