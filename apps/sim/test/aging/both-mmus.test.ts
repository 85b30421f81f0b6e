import type { Cpu } from "@kvm-age/machine";
import type { KvmGfnRange } from "@kvm-age/memslot";
import { describe, expect, test } from "vitest";
import { type AgingPart, ifMay } from "../../src/aging/aging-part.js";
import { shadowFirst, tdpFirst } from "../../src/aging/both-mmus.js";

const cpu = {} as Cpu;
const range = {} as KvmGfnRange;

/** An MMU that answers as told, and writes down that it was asked. */
function part(name: string, young: boolean, asked: string[]): AgingPart {
  const answer = (what: string): boolean => {
    asked.push(`${name} ${what}`);
    return young;
  };
  return { age: () => answer("age"), test: () => answer("test") };
}

const ANSWERS = [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
] as const;

describe.each([
  ["tdpFirst", tdpFirst, ["tdp", "shadow"]],
  ["shadowFirst", shadowFirst, ["shadow", "tdp"]],
] as const)("%s", (_name, combine, order) => {
  test.each(ANSWERS)("clears in both whatever the first says (tdp %s, shadow %s)", (tdp, shadow) => {
    const asked: string[] = [];
    const both = combine(part("tdp", tdp, asked), part("shadow", shadow, asked));
    expect(both.age(cpu, range)).toBe(tdp || shadow);
    expect(asked).toEqual(order.map((name) => `${name} age`));
  });

  test.each(ANSWERS)("tests to the same answer (tdp %s, shadow %s)", (tdp, shadow) => {
    const both = combine(part("tdp", tdp, []), part("shadow", shadow, []));
    expect(both.test(cpu, range)).toBe(tdp || shadow);
  });
});

describe("a test", () => {
  test("stops at a young TDP page as merged", () => {
    const asked: string[] = [];
    tdpFirst(part("tdp", true, asked), part("shadow", false, asked)).test(cpu, range);
    expect(asked).toEqual(["tdp test"]);
  });

  test("asked both MMUs before the series", () => {
    const asked: string[] = [];
    shadowFirst(part("tdp", true, asked), part("shadow", true, asked)).test(cpu, range);
    expect(asked).toEqual(["shadow test", "tdp test"]);
  });
});

describe("an MMU that may have nothing", () => {
  test.each([true, false])("is asked only if it may have something (%s), before it takes a lock", (may) => {
    const asked: string[] = [];
    const gated = ifMay(() => may, part("shadow", true, asked));
    expect([gated.age(cpu, range), gated.test(cpu, range)]).toEqual([may, may]);
    expect(asked).toEqual(may ? ["shadow age", "shadow test"] : []);
  });
});
