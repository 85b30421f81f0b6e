import { describe, expect, it } from "vitest";
import { type Address, type Cpu, ForwardingCpu, type MemoryOrder } from "../../src/index.js";
import { oneCpu } from "../support/machine.js";

/** Lets others work between what a pop has read and its exchange. */
class OvertakenCpu extends ForwardingCpu {
  constructor(
    inner: Cpu,
    private meanwhile: (() => void) | null,
  ) {
    super(inner);
  }

  override cmpxchg(address: Address, expected: bigint, replacement: bigint, order: MemoryOrder): bigint {
    const run = this.meanwhile;
    this.meanwhile = null;
    run?.();
    return this.inner.cmpxchg(address, expected, replacement, order);
  }
}

describe("a pop that was overtaken", () => {
  it("fails its exchange even if the same item is on top again (ABA)", () => {
    const { machine, cpu } = oneCpu();
    const other = machine.attach();
    const [first, second] = [machine.frames.allocateFrame(cpu), machine.frames.allocateFrame(cpu)];
    machine.frames.freeFrame(cpu, first);
    machine.frames.freeFrame(cpu, second);
    // The slow pop has read "second on top, first below". Meanwhile both are taken and second is put back.
    const slow = new OvertakenCpu(cpu, () => {
      expect(machine.frames.allocateFrame(other)).toBe(second);
      expect(machine.frames.allocateFrame(other)).toBe(first);
      machine.frames.freeFrame(other, second);
    });
    expect(machine.frames.allocateFrame(slow)).toBe(second);
    // With the stale link it would have put `first`, which is in use, on top.
    expect(machine.frames.allocateFrame(cpu)).not.toBe(first);
  });

  it("and a push that was overtaken links to the new top", () => {
    const { machine, cpu } = oneCpu();
    const other = machine.attach();
    const slab = machine.createSlab(cpu, "object", 2008);
    const [first, second] = [slab.allocate(cpu), slab.allocate(cpu)];
    const slow = new OvertakenCpu(cpu, () => slab.free(other, second));
    slab.free(slow, first);
    expect([slab.allocate(cpu), slab.allocate(cpu)]).toEqual([first, second]);
  });
});
