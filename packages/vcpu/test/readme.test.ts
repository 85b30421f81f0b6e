import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { fault, guestEntry, guestFault, pfn, ram } from "./readme.example.js";

const textOf = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

it("runs the README's example", () => {
  const block = /```ts\n([\s\S]*?)```/.exec(textOf("../README.md"))?.[1];
  const example = textOf("./readme.example.ts").replace('"../src/index.js"', '"@kvm-age/vcpu"');
  expect(example).toBe(block);
  expect(pfn).toBe(ram[5]! / 4096);
  expect(fault).toMatchObject({ kind: "violation", gpa: 0x5000, hardwareCode: 0x182n });
  expect(guestEntry).toBe(0x5067n);
  expect(guestFault).toEqual({ gva: 0x8000, errorCode: 4 });
});
