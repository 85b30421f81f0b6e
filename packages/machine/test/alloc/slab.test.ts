import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DoubleFreeError, ForeignFreeError, FRAME_BYTES, ObjectSizeError, offset } from "../../src/index.js";
import { oneCpu, thrown } from "../support/machine.js";

const objectBytes = fc.integer({ min: 1, max: 252 }).map((words) => words * 8);

describe("slab", () => {
  it("cuts frames of every object size without overlap and beside its header", () => {
    fc.assert(
      fc.property(objectBytes, (bytes) => {
        const { machine, cpu } = oneCpu(1 << 20);
        const slab = machine.createSlab(cpu, "test", bytes);
        const objects = Array.from({ length: slab.objectsPerFrame }, () => slab.allocate(cpu)).sort(
          (a, b) => a - b,
        );
        const frame = Math.floor(objects[0]! / FRAME_BYTES);
        expect(slab.objectsPerFrame).toBeGreaterThan(0);
        expect(objects[0]! % FRAME_BYTES).toBeGreaterThanOrEqual(64 + 4 * slab.objectsPerFrame);
        expect(objects.at(-1)! + bytes).toBeLessThanOrEqual((frame + 1) * FRAME_BYTES);
        objects.forEach((object, index) => {
          expect(object % 8).toBe(0);
          if (index > 0) expect(object - objects[index - 1]!).toBe(bytes);
          cpu.memset64(object, ~0n, bytes / 8);
        });
        expect(slab.allocatedObjects(cpu)).toBe(objects.length);
        for (const object of objects) slab.free(cpu, object);
        expect(slab.allocatedObjects(cpu)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it("hands out zeroed objects, again and again from the same frame", () => {
    const { machine, cpu } = oneCpu();
    const slab = machine.createSlab(cpu, "test", 128);
    const before = machine.frames.allocatedFrames(cpu);
    for (let round = 0; round < 100; round++) {
      const objects = Array.from({ length: slab.objectsPerFrame }, () => slab.allocate(cpu));
      for (const object of objects) {
        for (let word = 0; word < 16; word++) expect(cpu.readOnce(offset(object, word * 8))).toBe(0n);
        cpu.memset64(object, BigInt(round), 16);
      }
      for (const object of objects) slab.free(cpu, object);
    }
    expect(machine.frames.allocatedFrames(cpu)).toBe(before + 1);
  });

  it.each([64, 128, 192, 256, 1984])("objects of whole cache lines begin at one (%i bytes)", (bytes) => {
    const { machine, cpu } = oneCpu();
    const slab = machine.createSlab(cpu, "test", bytes);
    const objects = Array.from({ length: 2 * slab.objectsPerFrame }, () => slab.allocate(cpu));
    for (const object of objects) expect(object % 64).toBe(0);
  });

  it("does not free twice", () => {
    const { machine, cpu } = oneCpu();
    const slab = machine.createSlab(cpu, "pte_list_desc", 128);
    const object = slab.allocate(cpu);
    slab.free(cpu, object);
    const error = thrown(() => slab.free(cpu, object));
    expect(error).toBeInstanceOf(DoubleFreeError);
    expect(error.message).toMatch(/^pte_list_desc: 0x[0-9a-f]+ is freed twice$/);
    expect(slab.allocatedObjects(cpu)).toBe(0);
  });

  it("frees nothing that is not its own", () => {
    const { machine, cpu } = oneCpu();
    const slab = machine.createSlab(cpu, "one", 64);
    const other = machine.createSlab(cpu, "two", 64);
    const object = slab.allocate(cpu);
    expect(() => other.free(cpu, object)).toThrow(ForeignFreeError);
    expect(() => slab.free(cpu, offset(object, 8))).toThrow(/not the start of an object/);
    expect(() => slab.free(cpu, machine.frames.allocateFrame(cpu))).toThrow(/no frame of this slab/);
    expect(() => machine.frames.freeFrame(cpu, offset(object, -(object % FRAME_BYTES)))).toThrow(/state 3/);
    slab.free(cpu, object);
  });

  it.each([0, 4, 12, -8, 2024, Number.NaN])("refuses objects of %d bytes", (bytes) => {
    const { machine, cpu } = oneCpu();
    const error = thrown(() => machine.createSlab(cpu, "test", bytes));
    expect(error).toBeInstanceOf(ObjectSizeError);
    expect(error.message).toMatch(/outside \[8, 2016\] or not a multiple of 8/);
  });

  it("is the same slab seen through its handle", () => {
    const { machine, cpu } = oneCpu();
    const slab = machine.createSlab(cpu, "test", 64);
    const view = machine.slab(structuredClone(slab.handle));
    view.free(cpu, slab.allocate(cpu));
    expect(slab.allocatedObjects(cpu)).toBe(0);
    expect(view.name).toBe("test");
  });
});
