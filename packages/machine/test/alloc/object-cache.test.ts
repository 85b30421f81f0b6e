import { describe, expect, it } from "vitest";
import { CacheExhaustedError, ObjectCache, OutOfMemoryError, objectCacheBytes } from "../../src/index.js";
import { oneCpu, thrown } from "../support/machine.js";

function cacheOf(capacity: number) {
  const { machine, cpu } = oneCpu(1 << 20);
  const slab = machine.createSlab(cpu, "mmu_page_header", 128);
  const cache = new ObjectCache(machine.frames.allocateSpan(cpu, objectCacheBytes(capacity)), capacity, slab);
  return { machine, cpu, slab, cache };
}

describe("object cache", () => {
  it("fills to its capacity when it is below the minimum, and only then", () => {
    const { cpu, slab, cache } = cacheOf(40);
    cache.topUp(cpu, 5);
    expect([cache.count(cpu), slab.allocatedObjects(cpu)]).toEqual([40, 40]);
    const taken = Array.from({ length: 35 }, () => cache.allocate(cpu));
    cache.topUp(cpu, 5);
    expect(cache.count(cpu)).toBe(5);
    cache.allocate(cpu);
    cache.topUp(cpu, 5);
    expect(cache.count(cpu)).toBe(40);
    expect(new Set(taken).size).toBe(35);
  });

  it("returns what is left, and leaks nothing", () => {
    const { cpu, slab, cache } = cacheOf(7);
    cache.topUp(cpu, 1);
    slab.free(cpu, cache.allocate(cpu));
    cache.drain(cpu);
    expect([cache.count(cpu), slab.allocatedObjects(cpu)]).toEqual([0, 0]);
  });

  it("says whose cache ran empty", () => {
    const { cpu, cache } = cacheOf(7);
    const error = thrown(() => cache.allocate(cpu));
    expect(error).toBeInstanceOf(CacheExhaustedError);
    expect(error.message).toBe(
      "mmu_page_header: object cache is empty (capacity 7); top it up before taking locks",
    );
  });

  it("is content with the minimum when memory runs out before the capacity", () => {
    const { machine, cpu, slab, cache } = cacheOf(200);
    while (machine.frames.availableFrames(cpu) > 2) machine.frames.allocateFrame(cpu);
    cache.topUp(cpu, 2 * slab.objectsPerFrame);
    expect(cache.count(cpu)).toBe(2 * slab.objectsPerFrame);
  });

  it("keeps what it got when memory runs out in a top-up", () => {
    const { machine, cpu, slab, cache } = cacheOf(200);
    while (machine.frames.availableFrames(cpu) > 2) machine.frames.allocateFrame(cpu);
    const fitting = 2 * slab.objectsPerFrame;
    expect(() => cache.topUp(cpu, fitting + 1)).toThrow(OutOfMemoryError);
    expect(cache.count(cpu)).toBe(fitting);
    cache.drain(cpu);
    expect(slab.allocatedObjects(cpu)).toBe(0);
  });

  it.each([
    [1, 16],
    [2, 16],
    [3, 24],
    [40, 168],
  ])("of %d objects takes %d bytes", (capacity, bytes) => {
    expect(objectCacheBytes(capacity)).toBe(bytes);
  });
});
