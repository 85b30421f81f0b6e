import { describe, expect, it } from "vitest";
import {
  ArenaLayoutError,
  ArenaSizeError,
  CpuLimitError,
  createArenaMemory,
  MAX_ARENA_BYTES,
  MAX_CPUS,
  MIN_ARENA_BYTES,
  ThreadMachine,
} from "../../src/index.js";
import { thrown } from "../support/machine.js";

describe("ThreadMachine.create", () => {
  it.each([0, -1, MIN_ARENA_BYTES - 1, MAX_ARENA_BYTES + 1, Number.NaN])(
    "refuses an arena of %d bytes",
    (arenaBytes) => {
      const error = thrown(() => ThreadMachine.create({ arenaBytes }));
      expect(error).toBeInstanceOf(ArenaSizeError);
      expect(error.message).toBe(`arena size ${arenaBytes} bytes is outside [1048576, 4294967296]`);
    },
  );

  it.each([0, -1, 1.5, MAX_CPUS + 1, Number.NaN])("refuses %d processors", (maxCpus) => {
    const error = thrown(() => ThreadMachine.create({ arenaBytes: MIN_ARENA_BYTES, maxCpus }));
    expect(error).toBeInstanceOf(CpuLimitError);
    expect(error.message).toBe(`${maxCpus} processors wanted; the range is [1, 4096]`);
  });

  it.each([1, MAX_CPUS])("lays out the smallest arena with %d processors", (maxCpus) => {
    const machine = ThreadMachine.create({ arenaBytes: MIN_ARENA_BYTES, maxCpus });
    const cpu = machine.attach();
    const frames = Array.from({ length: machine.frames.availableFrames(cpu) }, () =>
      machine.frames.allocateFrame(cpu, ~0n),
    );
    expect(frames.length).toBeGreaterThan(150);
    expect(machine.maxCpus).toBe(maxCpus);
    expect(ThreadMachine.from(machine.handle).maxCpus).toBe(maxCpus);
  });

  it("rounds the size up to 64 KiB", () => {
    expect(ThreadMachine.create({ arenaBytes: MIN_ARENA_BYTES + 1 }).arena.bytes).toBe(
      MIN_ARENA_BYTES + 65536,
    );
  });

  it("refuses memory that holds no machine", () => {
    const error = thrown(() => ThreadMachine.from({ memory: createArenaMemory(MIN_ARENA_BYTES) }));
    expect(error).toBeInstanceOf(ArenaLayoutError);
    expect(error.message).toMatch(/signature 0x0, expected 0x6b766d41/);
  });
});

describe("attach", () => {
  it("gives each processor the lowest free number, and refuses one too many", () => {
    const machine = ThreadMachine.create({ arenaBytes: MIN_ARENA_BYTES, maxCpus: 3 });
    const cpus = [machine.attach(), machine.attach(), machine.attach()];
    expect(cpus.map((cpu) => cpu.id)).toEqual([0, 1, 2]);
    expect(thrown(() => machine.attach())).toBeInstanceOf(CpuLimitError);
    cpus[1]!.detach();
    expect(machine.attach().id).toBe(1);
  });
});
