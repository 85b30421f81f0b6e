import fc from "fast-check";
import { expect, it } from "vitest";
import {
  checkMemslotInvariants,
  hvaRangeIterFirst,
  hvaRangeIterNext,
  KVM_MEM_LOG_DIRTY_PAGES,
  kvmMemslotIterNext,
  kvmMemslotIterStart,
  kvmVcpuGfnToMemslot,
  MemslotError,
  NULL_SLOT,
  searchMemslots,
  slotArgument,
  slotId,
  VCPU_MEMSLOT_CACHE_BYTES,
} from "../src/index.js";
import { createVm, gfn, hva, type TestVm } from "./support/vm.js";

interface ModelSlot {
  readonly asId: number;
  readonly id: number;
  readonly base: number;
  readonly pages: number;
  /** In pages. */
  readonly uaddr: number;
  readonly logged: boolean;
}

const GFNS = 48;
const HVA_PAGES = 24;

const request: fc.Arbitrary<ModelSlot> = fc.record({
  asId: fc.integer({ min: 0, max: 1 }),
  id: fc.integer({ min: 0, max: 9 }),
  base: fc.integer({ min: 0, max: GFNS - 1 }),
  pages: fc.oneof(
    { weight: 3, arbitrary: fc.constant(4) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 12 }) },
  ),
  uaddr: fc.oneof(
    { weight: 3, arbitrary: fc.constant(8) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: HVA_PAGES - 12 }) },
  ),
  logged: fc.boolean(),
});

/** The kernel's rules in a few lines: the errno, or null and the model is changed. */
function applyToModel(model: Map<number, ModelSlot>, r: ModelSlot): string | null {
  const key = slotArgument(r.asId, r.id);
  const old = model.get(key);
  if (r.pages === 0) return model.delete(key) ? null : "EINVAL";
  if (old !== undefined && (old.uaddr !== r.uaddr || old.pages !== r.pages)) return "EINVAL";
  const overlaps = [...model.values()].some(
    (s) => s.asId === r.asId && s.id !== r.id && s.base < r.base + r.pages && r.base < s.base + s.pages,
  );
  if (old?.base !== r.base && overlaps) return "EEXIST";
  model.set(key, r);
  return null;
}

function applyToVm(vm: TestVm, r: ModelSlot): string | null {
  try {
    vm.set({
      slot: slotArgument(r.asId, r.id),
      flags: r.logged ? KVM_MEM_LOG_DIRTY_PAGES : 0,
      guestPhysAddr: r.base * 4096,
      memorySize: r.pages * 4096,
      userspaceAddr: r.uaddr * 4096,
    });
    return null;
  } catch (error) {
    if (error instanceof MemslotError) return error.errno;
    throw error;
  }
}

const byGfn = (a: ModelSlot, b: ModelSlot): number => a.base - b.base;
const byHva = (a: ModelSlot, b: ModelSlot): number => a.uaddr - b.uaddr || a.id - b.id;

function gfnRangeIds(vm: TestVm, asId: number, start: number, end: number): number[] {
  const set = vm.memslots.kvmMemslots(vm.cpu, asId);
  const ids: number[] = [];
  let slot = kvmMemslotIterStart(vm.cpu, set, gfn(start), gfn(end));
  for (; slot !== NULL_SLOT; slot = kvmMemslotIterNext(vm.cpu, set, slot, gfn(end)))
    ids.push(slotId(vm.cpu, slot));
  return ids;
}

function hvaRangeIds(vm: TestVm, asId: number, start: number, last: number): number[] {
  const set = vm.memslots.kvmMemslots(vm.cpu, asId);
  const ids: number[] = [];
  let slot = hvaRangeIterFirst(vm.cpu, set, hva(start), hva(last));
  for (; slot !== NULL_SLOT; slot = hvaRangeIterNext(vm.cpu, set, slot, hva(start), hva(last))) {
    ids.push(slotId(vm.cpu, slot));
  }
  return ids;
}

function compareLookups(
  vm: TestVm,
  model: Map<number, ModelSlot>,
  cache: Parameters<typeof kvmVcpuGfnToMemslot>[2],
): void {
  for (const asId of [0, 1]) {
    const slots = [...model.values()].filter((slot) => slot.asId === asId);
    for (let g = 0; g < GFNS + 12; g++) {
      const expected = slots.find((slot) => g >= slot.base && g < slot.base + slot.pages)?.id;
      const found = vm.memslots.gfnToMemslot(vm.cpu, asId, gfn(g));
      expect(found === NULL_SLOT ? undefined : slotId(vm.cpu, found)).toBe(expected);
      expect(searchMemslots(vm.cpu, vm.memslots.kvmMemslots(vm.cpu, asId), gfn(g))).toBe(found);
      if (asId === 0) expect(kvmVcpuGfnToMemslot(vm.memslots, vm.cpu, cache, 0, gfn(g))).toBe(found);
    }
    for (let start = 0; start < GFNS; start += 5) {
      for (const end of [start + 1, start + 7, GFNS + 12]) {
        const expected = slots.filter((s) => s.base < end && s.base + s.pages > start).sort(byGfn);
        expect(gfnRangeIds(vm, asId, start, end)).toEqual(expected.map(({ id }) => id));
      }
    }
    for (let start = 0; start < HVA_PAGES * 4096; start += 4096 + 1365) {
      for (const last of [start, start + 4095, start + 5 * 4096]) {
        const expected = slots
          .filter((s) => s.uaddr * 4096 <= last && (s.uaddr + s.pages) * 4096 > start)
          .sort(byHva);
        expect(hvaRangeIds(vm, asId, start, last)).toEqual(expected.map(({ id }) => id));
      }
    }
  }
}

it("creates, moves, deletes and changes flags like a list of slots, with aliases", () => {
  fc.assert(
    fc.property(fc.array(request, { minLength: 1, maxLength: 40 }), (requests) => {
      const vm = createVm({}, 2 << 20);
      const cache = vm.machine.frames.allocateSpan(vm.cpu, VCPU_MEMSLOT_CACHE_BYTES);
      const model = new Map<number, ModelSlot>();
      for (const r of requests) {
        const before = vm.memslots.generation(vm.cpu, r.asId);
        const errno = applyToModel(model, r);
        expect(applyToVm(vm, r)).toBe(errno);
        if (errno !== null) expect(vm.memslots.generation(vm.cpu, r.asId)).toBe(before);
        expect(checkMemslotInvariants(vm.memslots, vm.cpu)).toEqual([]);
      }
      compareLookups(vm, model, cache);
    }),
    { numRuns: 60, seed: 20250204 },
  );
});

it("keeps lookups right after every single step", () => {
  fc.assert(
    fc.property(fc.array(request, { minLength: 1, maxLength: 12 }), (requests) => {
      const vm = createVm({}, 2 << 20);
      const cache = vm.machine.frames.allocateSpan(vm.cpu, VCPU_MEMSLOT_CACHE_BYTES);
      const model = new Map<number, ModelSlot>();
      for (const r of requests) {
        applyToModel(model, r);
        applyToVm(vm, r);
        compareLookups(vm, model, cache);
      }
    }),
    { numRuns: 15, seed: 20250218 },
  );
});
