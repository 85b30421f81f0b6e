import { describe, expect, it } from "vitest";
import {
  type Address,
  AllocatorCorruptionError,
  DoubleFreeError,
  ForeignFreeError,
  FRAME_BYTES,
  FrameTable,
  OutOfMemoryError,
  offset,
  WORDS_PER_FRAME,
} from "../../src/index.js";
import { oneCpu, thrown } from "../support/machine.js";

describe("single frames", () => {
  it("are aligned, distinct, filled as asked, with a private word of 0", () => {
    const { machine, cpu } = oneCpu();
    const frames = Array.from({ length: 50 }, (_, index) => machine.frames.allocateFrame(cpu, BigInt(index)));
    expect(new Set(frames).size).toBe(50);
    frames.forEach((frame, index) => {
      expect(frame % FRAME_BYTES).toBe(0);
      for (let word = 0; word < WORDS_PER_FRAME; word++) {
        expect(cpu.readOnce(offset(frame, word * 8))).toBe(BigInt(index));
      }
      expect(machine.frames.readPrivate(cpu, frame)).toBe(0);
    });
  });

  it("come back last freed first, wiped, their private word too", () => {
    const { machine, cpu } = oneCpu();
    const first = machine.frames.allocateFrame(cpu);
    const second = machine.frames.allocateFrame(cpu, 9n);
    machine.frames.writePrivate(cpu, offset(second, 100), first);
    expect(machine.frames.readPrivate(cpu, second)).toBe(first);
    machine.frames.freeFrame(cpu, first);
    machine.frames.freeFrame(cpu, second);
    expect(machine.frames.allocateFrame(cpu)).toBe(second);
    expect(cpu.readOnce(second)).toBe(0n);
    expect(machine.frames.readPrivate(cpu, second)).toBe(0);
    expect(machine.frames.allocateFrame(cpu)).toBe(first);
  });

  it("are counted, and run out with the numbers in the error", () => {
    const { machine, cpu } = oneCpu(1 << 20);
    const available = machine.frames.availableFrames(cpu);
    expect(machine.frames.totalFrames).toBe(256);
    const frames = Array.from({ length: available }, () => machine.frames.allocateFrame(cpu));
    expect(machine.frames.allocatedFrames(cpu)).toBe(available);
    expect(machine.frames.availableFrames(cpu)).toBe(0);
    const error = thrown(() => machine.frames.allocateFrame(cpu));
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect(error).toMatchObject({
      name: "OutOfMemoryError",
      requestedFrames: 1,
      allocatedFrames: available,
      totalFrames: 256,
    });
    expect(error.message).toBe(
      `frame allocator: out of memory: 1 frame(s) of 4096 bytes wanted, ${available} of 256 in use`,
    );
    for (const frame of frames) machine.frames.freeFrame(cpu, frame);
    expect(machine.frames.allocatedFrames(cpu)).toBe(0);
  });

  it("are not freed twice", () => {
    const { machine, cpu } = oneCpu();
    const frame = machine.frames.allocateFrame(cpu);
    machine.frames.freeFrame(cpu, frame);
    const error = thrown(() => machine.frames.freeFrame(cpu, frame));
    expect(error).toBeInstanceOf(DoubleFreeError);
    expect(error.message).toBe(`frame allocator: 0x${frame.toString(16)} is freed twice`);
    expect(machine.frames.allocatedFrames(cpu)).toBe(0);
  });

  it.each([
    ["an address inside a frame", 8, /not the address of a frame/],
    ["an address beyond the arena", 4 << 20, /beyond the end of the arena/],
    ["a frame never handed out", 4096 * 500, /state 0/],
    ["the null address", 0, /state 0/],
  ])("refuses to free %s", (_what, address, reason) => {
    const { machine, cpu } = oneCpu();
    const error = thrown(() => machine.frames.freeFrame(cpu, address as Address));
    expect(error).toBeInstanceOf(ForeignFreeError);
    expect(error.message).toMatch(reason);
  });

  it("notices a frame table that nobody wrote like that", () => {
    const { machine, cpu } = oneCpu();
    const frame = machine.frames.allocateFrame(cpu);
    machine.frames.freeFrame(cpu, frame);
    cpu.writeOnce32(machine.frames.table.stateWord(FrameTable.frameOf(frame)), 99);
    const error = thrown(() => machine.frames.allocateFrame(cpu));
    expect(error).toBeInstanceOf(AllocatorCorruptionError);
    expect(error.message).toMatch(/found state 99/);
  });
});

describe("spans", () => {
  it("are contiguous, wiped and rounded up to whole frames", () => {
    const { machine, cpu } = oneCpu();
    const span = machine.frames.allocateSpan(cpu, FRAME_BYTES * 3 + 1);
    expect(machine.frames.allocatedFrames(cpu)).toBe(4);
    cpu.memset64(span, ~0n, 4 * WORDS_PER_FRAME);
    machine.frames.freeSpan(cpu, span);
    expect(machine.frames.allocatedFrames(cpu)).toBe(0);
    expect(machine.frames.allocateSpan(cpu, FRAME_BYTES * 4)).toBe(span);
    for (let word = 0; word < 4 * WORDS_PER_FRAME; word++)
      expect(cpu.readOnce(offset(span, word * 8))).toBe(0n);
  });

  it.each([
    ["ascending", [0, 1, 2]],
    ["descending", [2, 1, 0]],
    ["the middle last", [0, 2, 1]],
    ["the middle first", [1, 0, 2]],
  ])("neighbours freed %s merge into one", (_order, order) => {
    const { machine, cpu } = oneCpu();
    const spans = [2, 3, 1].map((frames) => machine.frames.allocateSpan(cpu, frames * FRAME_BYTES));
    const guard = machine.frames.allocateSpan(cpu, 1);
    for (const index of order) machine.frames.freeSpan(cpu, spans[index]!);
    expect(machine.frames.allocateSpan(cpu, 6 * FRAME_BYTES)).toBe(spans[0]);
    machine.frames.freeSpan(cpu, guard);
  });

  it("leave the rest free when a smaller one is cut out", () => {
    const { machine, cpu } = oneCpu();
    const big = machine.frames.allocateSpan(cpu, 5 * FRAME_BYTES);
    machine.frames.allocateSpan(cpu, 1);
    machine.frames.freeSpan(cpu, big);
    expect(machine.frames.allocateSpan(cpu, 2 * FRAME_BYTES)).toBe(big);
    expect(machine.frames.allocateSpan(cpu, 3 * FRAME_BYTES)).toBe(big + 2 * FRAME_BYTES);
  });

  it("give single frames when nothing else is left", () => {
    const { machine, cpu } = oneCpu(1 << 20);
    const available = machine.frames.availableFrames(cpu);
    const span = machine.frames.allocateSpan(cpu, available * FRAME_BYTES);
    expect(() => machine.frames.allocateFrame(cpu)).toThrow(OutOfMemoryError);
    machine.frames.freeSpan(cpu, span);
    const singles = Array.from({ length: available }, () => machine.frames.allocateFrame(cpu));
    expect(new Set(singles).size).toBe(available);
    expect(() => machine.frames.allocateFrame(cpu)).toThrow(OutOfMemoryError);
  });

  it("run out with the length in the error", () => {
    const { machine, cpu } = oneCpu(1 << 20);
    const error = thrown(() => machine.frames.allocateSpan(cpu, 300 * FRAME_BYTES));
    expect(error).toMatchObject({
      name: "OutOfMemoryError",
      requestedFrames: 300,
      allocatedFrames: 0,
      totalFrames: 256,
    });
  });

  it("are not freed twice, merged or not", () => {
    const { machine, cpu } = oneCpu();
    const first = machine.frames.allocateSpan(cpu, 2 * FRAME_BYTES);
    const second = machine.frames.allocateSpan(cpu, 2 * FRAME_BYTES);
    machine.frames.freeSpan(cpu, second);
    expect(() => machine.frames.freeSpan(cpu, second)).toThrow(DoubleFreeError);
    machine.frames.freeSpan(cpu, first);
    expect(() => machine.frames.freeSpan(cpu, second)).toThrow(DoubleFreeError);
    expect(() => machine.frames.freeSpan(cpu, first)).toThrow(DoubleFreeError);
  });

  it("and frames are not mixed up", () => {
    const { machine, cpu } = oneCpu();
    const span = machine.frames.allocateSpan(cpu, 2 * FRAME_BYTES);
    const frame = machine.frames.allocateFrame(cpu);
    expect(() => machine.frames.freeFrame(cpu, span)).toThrow(ForeignFreeError);
    expect(() => machine.frames.freeSpan(cpu, frame)).toThrow(ForeignFreeError);
    expect(() => machine.frames.freeSpan(cpu, offset(span, FRAME_BYTES))).toThrow(/not the start of a span/);
    expect(machine.frames.slabOf(cpu, frame)).toBe(0);
    expect(machine.frames.slabOf(cpu, 0xffff_f000 as Address)).toBe(0);
  });
});
