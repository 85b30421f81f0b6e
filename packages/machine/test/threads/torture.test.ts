import { describe, expect, it } from "vitest";
import { RCU_EPOCH_WORD } from "../../src/arena/layout.js";
import {
  type Address,
  flushDomainBytes,
  flushesSentWord,
  flushRequestsWord,
  memberCountWord,
  offset,
  RCU_HEAD_BYTES,
  ThreadMachine,
} from "../../src/index.js";
import { someLocks } from "../support/machine.js";
import { seeds, type TortureWorker, torture } from "./harness.js";

// Bounds: at most 4 workers, iterations as written. Each test is to take under 3 s on two cores; the time limit is
// for a deadlock, not for speed.
const TIME_LIMIT_MS = 60_000;

function workers(count: number, file: string, data: Record<string, unknown>): TortureWorker[] {
  return Array.from({ length: count }, () => ({ file, data }));
}

function setup(arenaBytes = 8 << 20) {
  const machine = ThreadMachine.create({ arenaBytes, maxCpus: 8 });
  const cpu = machine.attach();
  const words = machine.frames.allocateFrame(cpu);
  return { machine, cpu, words, ...someLocks(machine, cpu) };
}

describe.each(seeds)("real threads, seed %d:", (seed) => {
  it("four threads share the allocators, memory tight", { timeout: TIME_LIMIT_MS }, async () => {
    const { machine, cpu } = setup(1 << 20);
    const slab = machine.createSlab(cpu, "object", 1000);
    const before = machine.frames.allocatedFrames(cpu);
    const data = { slabHandle: slab.handle, operations: 20_000, maxLive: 40 };
    await torture(machine, cpu, seed, workers(4, "allocate.worker.mjs", data));
    expect(slab.allocatedObjects(cpu)).toBe(0);
    const slabFrames = Array.from({ length: machine.frames.totalFrames }, (_, frame) =>
      cpu.readOnce32(machine.frames.table.stateWord(frame)),
    ).filter((state) => state === 3).length;
    expect(machine.frames.allocatedFrames(cpu)).toBe(before + slabFrames);
  });

  it.each([
    ["rwlock", "mmuLock", 15_000, 4],
    ["spinlock", "pagesLock", 15_000, 0],
    ["mutex", "slotsLock", 15_000, 0],
  ] as const)("a %s excludes", { timeout: TIME_LIMIT_MS }, async (_kind, name, rounds, readEvery) => {
    const { machine, cpu, words, ...locks } = setup();
    // The rwlock's tickets, its third and fourth u32, wrap during the run. For the others these words mean nothing.
    for (const word of [8, 12]) cpu.writeOnce32(offset(locks[name].address, word), 0xffff_fffc);
    const data = { lock: locks[name], words: [words, offset(words, 2048)], rounds, readEvery };
    const writes = (await torture(machine, cpu, seed, workers(4, "exclusion.worker.mjs", data))) as number[];
    const total = writes.reduce((sum, count) => sum + count, 0);
    expect(cpu.readOnce32(words)).toBe(total);
    expect(cpu.readOnce32(offset(words, 2048))).toBe(total);
    expect(total).toBeGreaterThan(0);
  });

  it("a stream of readers does not starve a writer", { timeout: TIME_LIMIT_MS }, async () => {
    const { machine, cpu, words, mmuLock } = setup();
    const data = { lock: mmuLock, done: words, writes: 2_000, maxReads: 20_000_000 };
    const results = await torture(machine, cpu, seed, [
      ...workers(3, "starvation.worker.mjs", { ...data, mode: "read" }),
      ...workers(1, "starvation.worker.mjs", { ...data, mode: "write" }),
    ]);
    expect(results[3]).toBe(2_000);
  });

  it.each(["callRcu", "synchronizeRcu", "synchronizeSrcu"])(
    "no reader sees an object freed after %s",
    { timeout: TIME_LIMIT_MS },
    async (way) => {
      const { machine, cpu, words, kvmSrcu } = setup();
      // The epoch wraps during the run.
      cpu.writeOnce32(RCU_EPOCH_WORD, 0xffff_fff0);
      const slab = machine.createSlab(cpu, "object", 8 + RCU_HEAD_BYTES);
      const first = slab.allocate(cpu);
      cpu.writeOnce(first, 0x11fe11fe11fe11fen);
      cpu.writeOnce32(words, first);
      const data = { slabHandle: slab.handle, pointer: words, srcu: kvmSrcu, way };
      const writes = way === "callRcu" ? 10_000 : 1_500;
      await torture(machine, cpu, seed, [
        ...workers(2, "rcu.worker.mjs", { ...data, role: "reader", rounds: 60_000 }),
        ...workers(2, "rcu.worker.mjs", { ...data, role: "writer", rounds: writes }),
      ]);
      expect(slab.allocatedObjects(cpu)).toBe(1);
    },
  );

  it("after a flush nobody uses what was cached before", { timeout: TIME_LIMIT_MS }, async () => {
    const { machine, cpu, words } = setup();
    const domain = { address: machine.frames.allocateSpan(cpu, flushDomainBytes(3)), maxMembers: 3 };
    cpu.writeOnce32(memberCountWord(domain), 3);
    cpu.writeOnce32(words, 1);
    const flushes = 2_500;
    const data = { domain, current: words, retired: offset(words, 1024), done: offset(words, 2048), flushes };
    const members = [0, 1, 2].map((member) => ({
      file: "flush.worker.mjs",
      data: { ...data, role: "member", member },
    }));
    const results = (await torture(machine, cpu, seed, [
      ...members,
      { file: "flush.worker.mjs", data: { ...data, role: "flusher" } },
    ])) as { uses: number; exits: number }[];
    expect(cpu.readOnce32(flushRequestsWord(domain))).toBe(flushes);
    expect(cpu.readOnce32(flushesSentWord(domain))).toBeLessThanOrEqual(flushes);
    for (const { uses } of results.slice(0, 3)) expect(uses).toBeGreaterThan(0);
  });
});

describe("the queue of a rwlock", () => {
  /** Number of tickets drawn: the third u32 of the lock. */
  const tickets = (address: Address) => offset(address, 8);
  /** Bit of the count word, the first of the lock: the writer at the head of the queue waits. */
  const WRITER_WAITING = 0x100;

  it(
    "lets a waiting writer in before readers that came after it, although a reader is inside",
    async () => {
      const { machine, cpu, words, mmuLock } = setup();
      const queued = tickets(mmuLock.address);
      const data = { lock: mmuLock, places: words, inside: offset(words, 8), company: 2 };
      cpu.readLock(mmuLock);
      const finished = torture(machine, cpu, 0, [
        { file: "queue.worker.mjs", data: { ...data, mode: "write", askWhen: 0 } },
        { file: "queue.worker.mjs", data: { ...data, mode: "read", askWhen: WRITER_WAITING } },
        { file: "queue.worker.mjs", data: { ...data, mode: "read", askWhen: WRITER_WAITING } },
      ]);
      await untilWord(() => cpu.loadAcquire32(queued) === 3 || cpu.loadAcquire32(words) > 0);
      expect(cpu.rwlockNeedbreak(mmuLock)).toBe(true);
      expect(cpu.loadAcquire32(words)).toBe(0);
      cpu.readUnlock(mmuLock);
      const [writer] = (await finished) as { place: number }[];
      expect(writer!.place).toBe(0);
      expect(cpu.rwlockNeedbreak(mmuLock)).toBe(false);
    },
    TIME_LIMIT_MS,
  );

  it(
    "lets readers that queued together in together",
    async () => {
      const { machine, cpu, words, mmuLock } = setup();
      const queued = tickets(mmuLock.address);
      const data = {
        lock: mmuLock,
        mode: "read",
        askWhen: 0,
        places: words,
        inside: offset(words, 8),
        company: 3,
      };
      cpu.writeLock(mmuLock);
      const finished = torture(machine, cpu, 0, workers(3, "queue.worker.mjs", data));
      await untilWord(() => cpu.loadAcquire32(queued) === 3 || cpu.loadAcquire32(words) > 0);
      expect(cpu.loadAcquire32(words)).toBe(0);
      cpu.writeUnlock(mmuLock);
      await finished;
      expect(cpu.loadAcquire32(offset(words, 8))).toBe(3);
      cpu.writeLock(mmuLock);
      cpu.writeUnlock(mmuLock);
    },
    TIME_LIMIT_MS,
  );
});

/** Lets the workers' messages through while waiting for memory to change. */
async function untilWord(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}
