import { ReplayingCpu } from "@kvm-age/test-kit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkRmapHead, PTE_LIST_EXT } from "../src/index.js";
import { type ListState, listState } from "./support/list-state.js";
import { add, readLockless, remove, zapAll, zapOne } from "./support/operations.js";
import { RmapVm } from "./support/vm.js";

/** A list as plain arrays: newest descriptor first; one loose entry before there is a descriptor. */
class ModelList {
  private single: number | null = null;
  private descs: number[][] = [];

  get entries(): number[] {
    return this.single === null ? this.descs.flat() : [this.single];
  }

  add(id: number): number {
    const before = this.entries.length;
    if (before === 0) {
      this.single = id;
    } else if (this.single !== null) {
      this.descs = [[this.single, id]];
      this.single = null;
    } else if (this.descs[0]!.length === PTE_LIST_EXT) this.descs.unshift([id]);
    else this.descs[0]!.push(id);
    return before;
  }

  /** The newest descriptor's last entry fills the hole. */
  remove(id: number): void {
    if (this.single === id) {
      this.single = null;
      return;
    }
    const holder = this.descs.find((desc) => desc.includes(id))!;
    const index = holder.indexOf(id);
    const last = this.descs[0]!.pop()!;
    if (last !== id) holder[index] = last;
    if (this.descs[0]!.length === 0) this.descs.shift();
  }

  clear(): void {
    this.single = null;
    this.descs = [];
  }

  get state(): ListState {
    const iter = this.entries;
    const count = iter.length;
    if (this.single !== null) return { kind: "single", count, descs: [], single: this.single, iter };
    const tail = (from: number) => this.descs.slice(from + 1).flat().length;
    const descs = this.descs.map((ids, index) => [ids.length, tail(index), ids] as const);
    return { kind: count === 0 ? "empty" : "many", count, descs, iter };
  }
}

/** Which list, what to do to it, and which of the candidates it concerns. */
const step = fc.record({
  list: fc.nat({ max: 2 }),
  op: fc.oneof(
    { weight: 12, arbitrary: fc.constant("add" as const) },
    { weight: 5, arbitrary: fc.constant("remove" as const) },
    { weight: 3, arbitrary: fc.constant("zap one" as const) },
    { weight: 1, arbitrary: fc.constant("zap all" as const) },
  ),
  pick: fc.nat(),
});

type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/** Does the same to a list and to its model, and compares what they return. */
function perform(vm: RmapVm, models: readonly ModelList[], { list, op, pick }: Step, fresh: number): void {
  const head = vm.head(list);
  const model = models[list]!;
  const { entries } = model;
  const chosen = entries[pick % Math.max(1, entries.length)];
  if (op === "add") expect(add(vm, head, fresh)).toBe(model.add(fresh));
  else if (op === "zap all") {
    expect(zapAll(vm, head)).toEqual({ ret: entries.length > 0, zapped: entries });
    model.clear();
  } else if (chosen !== undefined) {
    if (op === "remove") remove(vm, head, chosen);
    else zapOne(vm, head, chosen);
    model.remove(chosen);
  }
}

const steps = fc.array(step, { minLength: 1, maxLength: 150, size: "max" });

describe("lists are what plain arrays would be", () => {
  it("three lists out of one slab, after every operation", () => {
    fc.assert(
      fc.property(steps, fc.boolean(), (all, duplicateCheck) => {
        const vm = new RmapVm({ duplicateCheck });
        const models = [new ModelList(), new ModelList(), new ModelList()];
        for (const [fresh, one] of all.entries()) {
          perform(vm, models, one, fresh);
          const head = vm.head(one.list);
          expect(listState(vm, vm.cpu, head)).toEqual(models[one.list]!.state);
          expect(checkRmapHead(vm.cpu, head)).toEqual([]);
        }
        expect(vm.descriptors()).toBe(models.reduce((sum, { state }) => sum + state.descs.length, 0));
        for (const [list, model] of models.entries()) {
          expect(readLockless(vm, vm.cpu, vm.head(list))).toEqual(model.entries);
          zapAll(vm, vm.head(list));
        }
        expect(vm.descriptors()).toBe(0);
        vm.cpu.lockdep.assertNothingHeld();
      }),
      { numRuns: 60 },
    );
  });

  it("and the same on a processor that suspends and replays at every access", () => {
    const vm = new RmapVm();
    const head = vm.head();
    const replaying = new ReplayingCpu(vm.cpu);
    for (let id = 0; id < 30; id++) expect(replaying.run((cpu) => add(vm, head, id, cpu))).toBe(id);
    replaying.run((cpu) => remove(vm, head, 3, cpu));
    replaying.run((cpu) => zapOne(vm, head, 29, cpu));
    expect(replaying.run((cpu) => readLockless(vm, cpu, head))).toHaveLength(28);
    expect(replaying.run((cpu) => zapAll(vm, head, cpu)).zapped).toHaveLength(28);
    expect(replaying.suspensions).toBeGreaterThan(1000);
    expect(vm.descriptors()).toBe(0);
  });
});
