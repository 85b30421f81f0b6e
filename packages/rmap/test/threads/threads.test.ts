import { type Address, offset, RWLOCK_BYTES, type RwLock, ThreadMachine } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import {
  checkRmapHead,
  createKvmRmaps,
  type KvmRmapHead,
  kvmRmapGet,
  kvmZapAllRmapSptes,
  pteListAdd,
  pteListCount,
} from "../../src/index.js";
import { runWorkers } from "./harness.js";

// Bounds: at most 4 workers, iterations as written. Each test is to take under 3 s on two cores; the time limit is
// for a deadlock, not for speed.
const TIME_LIMIT_MS = 60_000;
/** A fixed seed, and a new one in every run. Part of each test's name, so a failure shows it. */
const seeds: number[] = [1, Math.floor(Math.random() * 2 ** 31)];

const PRESENT = 0x77n;
const POISON = 0xdead_0000_0000_0000n;

function setup() {
  const machine = ThreadMachine.create({ arenaBytes: 4 << 20, maxCpus: 8 });
  const cpu = machine.attach();
  const span = (bytes: number) => machine.frames.allocateSpan(cpu, bytes);
  const mmuLock: RwLock = {
    kind: "rwlock",
    address: span(RWLOCK_BYTES),
    lockClass: { name: "kvm->mmu_lock", sleeps: false },
  };
  const rmaps = createKvmRmaps(cpu, machine, { mmuLock });
  return { machine, cpu, mmuLock, rmaps, head: span(8) as KvmRmapHead, span };
}

interface AgerTotals {
  readonly walks: number;
  readonly entries: number;
  readonly cleared: number;
  readonly empty: number;
}

describe.each(seeds)("real threads, seed %d:", (seed) => {
  it.each([1, 2])(
    "the bit excludes readers from each other, list of %i",
    { timeout: TIME_LIMIT_MS },
    async (length) => {
      const shared = setup();
      const { cpu, rmaps, mmuLock, head, span } = shared;
      const sptes = span(4096);
      cpu.writeLock(mmuLock);
      for (let id = 0; id < length; id++) {
        pteListAdd(rmaps, cpu, rmaps.descriptors, offset(sptes, id * 8), head);
      }
      cpu.writeUnlock(mmuLock);
      const before = cpu.readOnce(head);
      const words = [span(4096), span(4096)];
      const worker = { file: "exclusion.worker.mjs", data: { head, words, rounds: 10_000 } };
      await runWorkers(shared, seed, [worker, worker, worker, worker]);
      expect(words.map((word) => cpu.readOnce32(word))).toEqual([40_000, 40_000]);
      expect(cpu.readOnce(head)).toBe(before);
    },
  );

  it("agers walk while a writer adds, zaps and reuses", { timeout: TIME_LIMIT_MS }, async () => {
    const shared = setup();
    const { cpu, rmaps, mmuLock, head, span } = shared;
    const [table, stop] = [span(4096), span(8)];
    const sptes: Address[] = Array.from({ length: 64 }, (_, id) => offset(table, id * 8));
    for (const sptep of sptes) cpu.writeOnce(sptep, POISON);
    const common = { head, sptes, present: PRESENT, poison: POISON, stop };
    const ager = { file: "ager.worker.mjs", data: { ...common, minimum: 1_000 } };
    const writer = { file: "writer.worker.mjs", data: { ...common, rounds: 30_000 } };
    const results = await runWorkers(shared, seed, [writer, ager, ager]);
    const [left, ...agers] = results as [number, ...AgerTotals[]];
    expect(pteListCount(cpu, head)).toBe(left);
    expect(checkRmapHead(cpu, head)).toEqual([]);
    for (const { walks } of agers) expect(walks).toBeGreaterThanOrEqual(1_000);
    cpu.writeLock(mmuLock);
    kvmZapAllRmapSptes(rmaps, cpu, head, () => {});
    cpu.writeUnlock(mmuLock);
    expect(kvmRmapGet(cpu, head)).toBe(0n);
    expect(rmaps.descriptors.allocatedObjects(cpu)).toBe(0);
  });
});
