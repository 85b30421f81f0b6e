import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { entry, fault, pfn } from "./readme.example.js";

const textOf = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

it("runs the README's example", () => {
  const block = /```ts\n([\s\S]*?)```/.exec(textOf("../README.md"))?.[1];
  const example = textOf("./readme.example.ts").replace('"../src/index.js"', '"@kvm-age/vcpu"');
  expect(example).toBe(block);
  expect(pfn).toBe(0x12345b);
  expect(fault).toMatchObject({ kind: "violation", gpa: 0x5000, hardwareCode: 0x182n });
  expect(entry).toBe(0x12345b_337n);
});
