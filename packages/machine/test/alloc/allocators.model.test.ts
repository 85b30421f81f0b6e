import fc from "fast-check";
import { expect, it } from "vitest";
import {
  type Address,
  FRAME_BYTES,
  OutOfMemoryError,
  offset,
  type Slab,
  type ThreadCpu,
  type ThreadMachine,
} from "../../src/index.js";
import { oneCpu } from "../support/machine.js";

interface Allocation {
  readonly address: Address;
  readonly bytes: number;
  readonly free: () => void;
}

/** The model: what is allocated, as plain ranges. */
interface Model {
  readonly live: Allocation[];
}

interface Real {
  readonly machine: ThreadMachine;
  readonly cpu: ThreadCpu;
  readonly slab: Slab;
}

type Command = fc.Command<Model, Real>;

function track(model: Model, real: Real, address: Address, bytes: number, free: () => void): void {
  for (const other of model.live) {
    const apart = address + bytes <= other.address || other.address + other.bytes <= address;
    if (!apart)
      throw new Error(`0x${address.toString(16)}+${bytes} overlaps 0x${other.address.toString(16)}`);
  }
  for (let at = 0; at < bytes; at += 8) {
    if (real.cpu.readOnce(offset(address, at)) !== 0n) throw new Error(`not wiped at ${at}`);
  }
  real.cpu.memset64(address, BigInt(address), bytes / 8);
  model.live.push({ address, bytes, free });
}

class Allocate implements Command {
  constructor(
    readonly what: "frame" | "object" | "span",
    readonly frames: number,
  ) {}

  check = () => true;

  run(model: Model, real: Real): void {
    const { machine, cpu, slab } = real;
    try {
      if (this.what === "object") {
        const address = slab.allocate(cpu);
        track(model, real, address, slab.objectBytes, () => slab.free(cpu, address));
      } else if (this.what === "frame") {
        const address = machine.frames.allocateFrame(cpu);
        track(model, real, address, FRAME_BYTES, () => machine.frames.freeFrame(cpu, address));
      } else {
        const address = machine.frames.allocateSpan(cpu, this.frames * FRAME_BYTES);
        track(model, real, address, this.frames * FRAME_BYTES, () => machine.frames.freeSpan(cpu, address));
      }
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      // A frame or object is refused only if there is really none.
      if (this.what !== "span") expect(machine.frames.availableFrames(cpu)).toBe(0);
    }
  }

  toString = () => `allocate ${this.what}${this.what === "span" ? ` of ${this.frames}` : ""}`;
}

class Free implements Command {
  constructor(readonly which: number) {}

  check = (model: Readonly<Model>) => model.live.length > 0;

  run(model: Model, { cpu }: Real): void {
    const [gone] = model.live.splice(this.which % model.live.length, 1);
    for (let at = 0; at < gone!.bytes; at += 8) {
      if (cpu.readOnce(offset(gone!.address, at)) !== BigInt(gone!.address))
        throw new Error("stamp overwritten");
    }
    gone!.free();
  }

  toString = () => `free ${this.which}`;
}

it("frames, spans and slab objects never overlap, are wiped, and all come back", () => {
  const commands = fc.commands(
    [
      fc.constant(new Allocate("frame", 1)),
      fc.constant(new Allocate("object", 0)),
      fc.integer({ min: 1, max: 70 }).map((frames) => new Allocate("span", frames)),
      fc.nat(1000).map((which) => new Free(which)),
      fc.nat(1000).map((which) => new Free(which)),
    ],
    { maxCommands: 150 },
  );
  fc.assert(
    fc.property(commands, (sequence) => {
      const { machine, cpu } = oneCpu(1 << 20);
      const slab = machine.createSlab(cpu, "test", 1000);
      const model: Model = { live: [] };
      fc.modelRun(() => ({ model, real: { machine, cpu, slab } }), sequence);
      const objects = model.live.filter((allocation) => allocation.bytes === 1000).length;
      expect(slab.allocatedObjects(cpu)).toBe(objects);
      for (const allocation of model.live) allocation.free();
      expect(slab.allocatedObjects(cpu)).toBe(0);
      const slabFrames = countSlabFrames(machine, cpu);
      expect(machine.frames.allocatedFrames(cpu)).toBe(1 + slabFrames);
    }),
    { numRuns: 60 },
  );
});

it("spans freed in any order merge back into one run", () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 14 });
  fc.assert(
    fc.property(lengths, fc.infiniteStream(fc.nat()), (frames, choices) => {
      const { machine, cpu } = oneCpu(1 << 20);
      const live = frames.map((count) => machine.frames.allocateSpan(cpu, count * FRAME_BYTES));
      const first = live[0];
      machine.frames.allocateSpan(cpu, FRAME_BYTES);
      for (const choice of choices) {
        if (live.length === 0) break;
        machine.frames.freeSpan(cpu, live.splice(choice % live.length, 1)[0]!);
      }
      const total = frames.reduce((sum, count) => sum + count, 0);
      expect(machine.frames.allocateSpan(cpu, total * FRAME_BYTES)).toBe(first);
    }),
  );
});

function countSlabFrames(machine: ThreadMachine, cpu: ThreadCpu): number {
  let count = 0;
  for (let frame = 0; frame < machine.frames.totalFrames; frame++) {
    if (cpu.readOnce32(machine.frames.table.stateWord(frame)) === 3) count++;
  }
  return count;
}
