import { beforeEach, describe, expect, it } from "vitest";
import {
  type Address,
  AddressSanitizerError,
  AllocationOverflowError,
  type Cpu,
  createWordWidths,
  FRAME_BYTES,
  MachineMemoryError,
  MisalignedAccessError,
  NeverAllocatedError,
  NullPageAccessError,
  OutOfArenaError,
  offset,
  type RcuCallback,
  type Slab,
  SlabRedzoneError,
  type ThreadCpu,
  type ThreadMachine,
  UseAfterFreeError,
  WordWidthError,
  withAddressSanitizer,
  withWidthCheck,
} from "../../src/index.js";
import { oneCpu, someLocks, thrown } from "../support/machine.js";

let machine: ThreadMachine;
let plain: ThreadCpu;
let cpu: Cpu;
let slab: Slab;

beforeEach(() => {
  const made = oneCpu();
  machine = made.machine;
  plain = made.cpu;
  cpu = withAddressSanitizer(machine.frames)(plain);
  slab = machine.createSlab(cpu, "object", 1000);
});

const uses64: [string, (address: Address) => unknown][] = [
  ["readOnce", (address) => cpu.readOnce(address)],
  ["writeOnce", (address) => cpu.writeOnce(address, 1n)],
  ["loadAcquire", (address) => cpu.loadAcquire(address)],
  ["storeRelease", (address) => cpu.storeRelease(address, 1n)],
  ["cmpxchg", (address) => cpu.cmpxchg(address, 0n, 1n, "full")],
  ["xchg", (address) => cpu.xchg(address, 1n, "full")],
  ["fetchAnd", (address) => cpu.fetchAnd(address, 1n, "full")],
  ["fetchOr", (address) => cpu.fetchOr(address, 1n, "full")],
  ["fetchAdd", (address) => cpu.fetchAdd(address, 1n, "full")],
  ["clearBitsWhere", (address) => cpu.clearBitsWhere(address, 1, 1n, 1n, 1n, "cmpxchg")],
  ["memset64", (address) => cpu.memset64(address, 1n, 1)],
];
const uses32: [string, (address: Address) => unknown][] = [
  ["readOnce32", (address) => cpu.readOnce32(address)],
  ["writeOnce32", (address) => cpu.writeOnce32(address, 1)],
  ["loadAcquire32", (address) => cpu.loadAcquire32(address)],
  ["storeRelease32", (address) => cpu.storeRelease32(address, 1)],
  ["cmpxchg32", (address) => cpu.cmpxchg32(address, 0, 1, "full")],
  ["xchg32", (address) => cpu.xchg32(address, 1, "full")],
  ["fetchAnd32", (address) => cpu.fetchAnd32(address, 1, "full")],
  ["fetchOr32", (address) => cpu.fetchOr32(address, 1, "full")],
  ["fetchAdd32", (address) => cpu.fetchAdd32(address, 1, "full")],
  ["relax", (address) => cpu.relax(address)],
];
const noop: RcuCallback = { id: 1, run: () => {} };
const structures: [string, (address: Address) => unknown][] = [
  ["callRcu", (address) => cpu.callRcu(address, noop)],
  ["lock", (address) => cpu.readLock({ ...someLocks(machine, plain).mmuLock, address })],
  ["lock", (address) => cpu.readUnlock({ ...someLocks(machine, plain).mmuLock, address })],
  ["lock", (address) => cpu.writeLock({ ...someLocks(machine, plain).mmuLock, address })],
  ["lock", (address) => cpu.writeUnlock({ ...someLocks(machine, plain).mmuLock, address })],
  ["lock", (address) => cpu.spinLock({ ...someLocks(machine, plain).pagesLock, address })],
  ["lock", (address) => cpu.spinTrylock({ ...someLocks(machine, plain).pagesLock, address })],
  ["lock", (address) => cpu.spinUnlock({ ...someLocks(machine, plain).pagesLock, address })],
  ["lock", (address) => cpu.mutexLock({ ...someLocks(machine, plain).slotsLock, address })],
  ["lock", (address) => cpu.mutexUnlock({ ...someLocks(machine, plain).slotsLock, address })],
  ["lock", (address) => cpu.srcuReadLock({ ...someLocks(machine, plain).kvmSrcu, address })],
  ["lock", (address) => cpu.srcuReadUnlock({ ...someLocks(machine, plain).kvmSrcu, address }, 0)],
  ["lock", (address) => cpu.synchronizeSrcu({ ...someLocks(machine, plain).kvmSrcu, address })],
  ["flushRemoteTlbs", (address) => cpu.flushRemoteTlbs({ address, maxMembers: 1 }, null)],
];

describe("every kind of use", () => {
  it.each([...uses64, ...uses32, ...structures])(
    "%s of a freed frame is reported before it happens",
    (use, run) => {
      const frame = machine.frames.allocateFrame(cpu);
      machine.frames.freeFrame(cpu, frame);
      const before = plain.readOnce(frame);
      const error = thrown(() => run(frame));
      expect(error).toBeInstanceOf(UseAfterFreeError);
      expect(error).toMatchObject({ name: "UseAfterFreeError", use, address: frame, frameState: "free" });
      expect(plain.readOnce(frame)).toBe(before);
    },
  );

  it.each([...uses64, ...uses32])("%s of memory in use passes through", (_use, run) => {
    run(machine.frames.allocateFrame(cpu));
    run(offset(machine.frames.allocateSpan(cpu, 3 * FRAME_BYTES), 2 * FRAME_BYTES));
    run(slab.allocate(cpu));
  });

  it.each(uses64)("%s off a multiple of 8 is reported", (_use, run) => {
    const error = thrown(() => run(offset(machine.frames.allocateFrame(cpu), 4)));
    expect(error).toBeInstanceOf(MisalignedAccessError);
    expect(error.message).toMatch(/the address is not a multiple of 8$/);
  });

  it.each(uses32)("%s off a multiple of 4 is reported, at one it is not", (_use, run) => {
    const frame = machine.frames.allocateFrame(cpu);
    run(offset(frame, 4));
    expect(thrown(() => run(offset(frame, 6)))).toBeInstanceOf(MisalignedAccessError);
  });
});

describe("where there is nothing to use", () => {
  it.each([4 << 20, (4 << 20) - 4, -8, 0.5, Number.NaN])("the address %d is outside the arena", (address) => {
    const error = thrown(() => cpu.readOnce(address as Address));
    expect(error).toBeInstanceOf(OutOfArenaError);
    expect(error.message).toMatch(/outside the arena \[0, 0x400000\)$/);
  });

  it("a null pointer with the offset of a field is named", () => {
    for (const address of [0, 8, 56, 112, 4088]) {
      const error = thrown(() => cpu.readOnce(address as Address));
      expect(error).toBeInstanceOf(NullPageAccessError);
      expect(error.message).toBe(`readOnce of 8 byte(s) at 0x${address.toString(16)}: in the null page`);
    }
  });

  it("the machine's processor slots are its own", () => {
    expect(thrown(() => cpu.readOnce32(FRAME_BYTES as Address))).toBeInstanceOf(MachineMemoryError);
  });

  it("a frame beyond the frontier was never allocated", () => {
    const error = thrown(() => cpu.writeOnce(((4 << 20) - FRAME_BYTES) as Address, 1n));
    expect(error).toBeInstanceOf(NeverAllocatedError);
    expect(error).toBeInstanceOf(AddressSanitizerError);
    expect(error).toMatchObject({ frameState: "neverUsed" });
  });
});

describe("spans", () => {
  it("are reported when freed, in every frame", () => {
    const span = machine.frames.allocateSpan(cpu, 3 * FRAME_BYTES);
    machine.frames.freeSpan(cpu, span);
    expect(thrown(() => cpu.readOnce(span))).toMatchObject({ frameState: "freeSpanHead" });
    expect(thrown(() => cpu.readOnce(offset(span, FRAME_BYTES)))).toMatchObject({
      frameState: "freeSpanBody",
    });
  });

  it("hold runs over several frames, but not over their end", () => {
    const span = machine.frames.allocateSpan(cpu, 3 * FRAME_BYTES);
    machine.frames.allocateSpan(cpu, FRAME_BYTES);
    cpu.memset64(span, 0n, 3 * 512);
    cpu.clearBitsWhere(offset(span, 8), 3 * 512 - 1, 1n, 1n, 1n, "fetch-and");
    const error = thrown(() => cpu.memset64(offset(span, 8), 0n, 3 * 512));
    expect(error).toBeInstanceOf(AllocationOverflowError);
    expect(error).toMatchObject({
      endAddress: span + 3 * FRAME_BYTES,
      bytes: 3 * FRAME_BYTES,
      objectBytes: null,
    });
  });

  it("of no words are not looked at", () => {
    cpu.memset64(8 as Address, 0n, 0);
  });

  it("do not let a frame's run into the next frame", () => {
    const frame = machine.frames.allocateFrame(cpu);
    machine.frames.allocateFrame(cpu);
    const error = thrown(() => cpu.clearBitsWhere(offset(frame, 8), 512, 1n, 1n, 1n, "cmpxchg"));
    expect(error).toBeInstanceOf(AllocationOverflowError);
    expect(error.message).toMatch(/clearBitsWhere of 4096 byte\(s\).*frame state single/);
  });
});

describe("slab objects", () => {
  it("are reported when freed, with the object's size", () => {
    const object = slab.allocate(cpu);
    cpu.writeOnce(offset(object, 992), 1n);
    slab.free(cpu, object);
    const error = thrown(() => cpu.readOnce(offset(object, 992)));
    expect(error).toBeInstanceOf(UseAfterFreeError);
    expect(error).toMatchObject({ frameState: "slab", objectBytes: 1000 });
    expect(error.message).toMatch(/the object of 1000 bytes is free or was never allocated/);
  });

  it("are reported when they were never allocated", () => {
    const first = slab.allocate(cpu);
    expect(thrown(() => cpu.readOnce(offset(first, 1000)))).toBeInstanceOf(UseAfterFreeError);
  });

  it("end where the frame's rest begins", () => {
    const last = Math.max(
      ...Array.from({ length: slab.objectsPerFrame }, () => slab.allocate(cpu)),
    ) as Address;
    const error = thrown(() => cpu.readOnce(offset(last, 1000)));
    expect(error).toBeInstanceOf(SlabRedzoneError);
    expect(error.message).toMatch(/between or after the 1000-byte objects of a slab/);
  });

  it("begin after the header, which belongs to the allocator", () => {
    const odd = machine.createSlab(cpu, "odd", 1336);
    expect(odd.objectsPerFrame % 2).toBe(1);
    const object = Math.min(
      ...Array.from({ length: odd.objectsPerFrame }, () => odd.allocate(cpu)),
    ) as Address;
    expect(thrown(() => cpu.readOnce32(offset(object, -4)))).toBeInstanceOf(SlabRedzoneError);
    expect(cpu.readOnce32(offset(object, -8))).toBeGreaterThanOrEqual(0);
  });

  it("do not run over into the next", () => {
    const [first] = [slab.allocate(cpu), slab.allocate(cpu)].sort((a, b) => a - b);
    const error = thrown(() => cpu.memset64(first!, 0n, 126));
    expect(error).toBeInstanceOf(AllocationOverflowError);
    expect(error).toMatchObject({ objectBytes: 1000, endAddress: first! + 1000 });
  });

  it("hold their rcu_head wholly", () => {
    const object = slab.allocate(cpu);
    expect(thrown(() => cpu.callRcu(offset(object, 992), noop))).toBeInstanceOf(AllocationOverflowError);
    cpu.callRcu(offset(object, 984), noop);
    cpu.rcuBarrier();
  });

  it("are checked inside RCU callbacks too", () => {
    const object = slab.allocate(cpu);
    const other = slab.allocate(cpu);
    slab.free(cpu, other);
    cpu.callRcu(object, { id: 2, run: (runner) => runner.readOnce(other) });
    expect(thrown(() => cpu.rcuBarrier())).toBeInstanceOf(UseAfterFreeError);
  });
});

it("the allocators work under the sanitizer and the width checker", () => {
  cpu = withWidthCheck(createWordWidths(machine.arena.memory))(cpu);
  for (let round = 0; round < 3; round++) {
    const frames = Array.from({ length: 20 }, () => machine.frames.allocateFrame(cpu));
    const spans = [1, 3, 2].map((count) => machine.frames.allocateSpan(cpu, count * FRAME_BYTES));
    const objects = Array.from({ length: 20 }, () => slab.allocate(cpu));
    for (const object of objects) slab.free(cpu, object);
    for (const span of spans) machine.frames.freeSpan(cpu, span);
    for (const frame of frames) machine.frames.freeFrame(cpu, frame);
  }
  expect(slab.allocatedObjects(cpu)).toBe(0);
});

describe("the width of a word", () => {
  const setup = () => {
    const widths = createWordWidths(machine.arena.memory);
    const checked = withWidthCheck(widths)(plain);
    return { checked, widths, frame: machine.frames.allocateFrame(checked) };
  };

  it("is fixed by its first access", () => {
    const { checked, frame } = setup();
    checked.writeOnce(frame, 1n);
    checked.writeOnce32(offset(frame, 8), 1);
    const error = thrown(() => checked.readOnce32(offset(frame, 4)));
    expect(error).toBeInstanceOf(WordWidthError);
    expect(error.message).toBe(
      `readOnce32 of 4 byte(s) at 0x${(frame + 4).toString(16)}: the word has been used as 64 bits wide`,
    );
    expect(thrown(() => checked.readOnce(offset(frame, 8)))).toMatchObject({ knownBytes: 4 });
    expect(thrown(() => checked.clearBitsWhere(frame, 2, 1n, 1n, 1n, "cmpxchg"))).toBeInstanceOf(
      WordWidthError,
    );
  });

  it("is forgotten when the memory is handed out again", () => {
    const { checked, frame } = setup();
    checked.writeOnce(frame, 1n);
    machine.frames.freeFrame(checked, frame);
    expect(machine.frames.allocateFrame(checked)).toBe(frame);
    checked.writeOnce32(frame, 1);
  });

  it("is common to the processors", () => {
    const { checked, widths, frame } = setup();
    checked.writeOnce(frame, 1n);
    const other = withWidthCheck(structuredClone(widths))(machine.attach());
    expect(thrown(() => other.readOnce32(frame))).toBeInstanceOf(WordWidthError);
  });
});
