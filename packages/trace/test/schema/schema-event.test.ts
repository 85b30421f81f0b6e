import { describe, expect, it } from "vitest";
import { assertSchemaEvent, NotASchemaEventError, schemaEventProblems } from "../../src/index.js";

const CHANGED = { as_id: 0, gfn: 1, level: 1, old_spte: 0n, new_spte: 1n };
const SET = { gfn: 1, spte: 1n, level: 1, sptep: 8, r: true, x: true, u: null };

function problems(name: string, fields: Record<string, unknown>): string[] {
  return schemaEventProblems(name, fields);
}

describe("an event of the schema", () => {
  it.each([
    ["kvm_tdp_mmu_spte_changed", CHANGED],
    ["kvm_mmu_set_spte", SET],
    ["kvm_mmu_spte_requested", { gfn: 1, pfn: 2 ** 63, level: 1, access: null }],
    [
      "kvm_exit",
      { vcpu: 0, reason: "npf", rip: 1n, info1: 0n, info2: 0n, intr_info: 0, error_code: 0, requests: null },
    ],
  ])("%s has all its fields, each of its kind", (name, fields) => {
    expect(problems(name, fields)).toEqual([]);
    expect(() => assertSchemaEvent(name, fields)).not.toThrow();
  });
});

describe("what is no event of the schema", () => {
  it("has another name", () => {
    expect(problems("kvm_mmu_unheard_of", {})).toEqual(["the schema has no event of this name"]);
    expect(problems("toString", {})).toEqual(["the schema has no event of this name"]);
  });

  it.each([
    ["lacks a field", { ...CHANGED, new_spte: undefined }, "new_spte is missing, allowed: bigint"],
    ["has another type", { ...CHANGED, old_spte: 5 }, "old_spte is number 5, allowed: bigint"],
    ["has a number that is no integer", { ...CHANGED, gfn: 1.5 }, "gfn is number 1.5, allowed: number"],
    [
      "has null where there must be a value",
      { ...CHANGED, level: null },
      "level is object null, allowed: number",
    ],
    ["has one field more", { ...CHANGED, pfn: 1 }, "pfn is no field of it"],
    ["has one from the prototype", { ...CHANGED, constructor: 1 }, "constructor is no field of it"],
  ])("%s", (_name, fields, sentence) => {
    expect(problems("kvm_tdp_mmu_spte_changed", fields)).toEqual([sentence]);
  });

  it("is refused with everything that is wrong", () => {
    const wrong = { ...SET, spte: "1", r: 1 };
    expect(() => assertSchemaEvent("kvm_mmu_set_spte", wrong)).toThrow(NotASchemaEventError);
    expect(() => assertSchemaEvent("kvm_mmu_set_spte", wrong)).toThrow(
      "event kvm_mmu_set_spte: spte is string 1, allowed: bigint; r is number 1, allowed: boolean",
    );
  });
});
