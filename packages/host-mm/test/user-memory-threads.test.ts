import { Worker } from "node:worker_threads";
import { type Address, offset, ThreadMachine } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import { describe, expect, it, onTestFinished } from "vitest";
import { checkHostMmInvariants, createHostMm } from "../src/index.js";

/** For a deadlock, not for speed: each test takes a few seconds on two cores. */
const TIME_LIMIT_MS = 60_000;
const PAGE = 4096;

/** A fixed seed and a new one in every run; part of the test's name. */
const seeds = [1, Math.floor(Math.random() * 2 ** 31)];

interface Task {
  readonly role: "increment" | "remap" | "access";
  readonly data: Readonly<Record<string, unknown>>;
}

function makeSharedHost() {
  const machine = ThreadMachine.create({ arenaBytes: 2 << 20, maxCpus: 4 });
  const cpu = machine.attach();
  const init = { pages: 64, transparentHugePages: false, contents: false };
  const hostMm = createHostMm(cpu, machine, init);
  return { machine, cpu, hostMm, gate: machine.frames.allocateFrame(cpu) };
}

type SharedHost = ReturnType<typeof makeSharedHost>;

/** Runs the tasks as real threads, started at one gate; resolves to their results. They load the built package. */
async function runThreads(host: SharedHost, seed: number, tasks: readonly Task[]): Promise<unknown[]> {
  const common = {
    machineHandle: host.machine.handle,
    hostHandle: host.hostMm.handle,
    gate: host.gate,
    workers: tasks.length,
  };
  const started = tasks.map(({ role, data }, index) => {
    const workerData = { ...common, role, data, seed: seed * 31 + index };
    // Without execArgv, vitest's own resolve conditions would reach the thread and send it to TypeScript sources.
    const worker = new Worker(new URL("./threads/user-memory.worker.mjs", import.meta.url), {
      workerData,
      execArgv: [],
    });
    const result = new Promise<unknown>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
      worker.once("exit", (code) => reject(new Error(`${role} ended with code ${code} and no result`)));
    });
    return { worker, result };
  });
  onTestFinished(async () => {
    await Promise.all(started.map(({ worker }) => worker.terminate()));
  });
  return Promise.all(started.map(({ result }) => result));
}

describe.each(seeds)("real threads, seed %d:", (seed) => {
  it("increments by cmpxchgUser are never lost, not even to the other half of the word", {
    timeout: TIME_LIMIT_MS,
  }, async () => {
    const host = makeSharedHost();
    const { hostMm, cpu } = host;
    const base = hostMm.mmapBacked(cpu, PAGE, { writable: true });
    const start = 2n ** 32n - 5n;
    const counters = [
      { hva: base, size: 4 as const },
      { hva: (base + 4) as Hva, size: 4 as const },
      { hva: (base + 8) as Hva, size: 8 as const },
    ];
    // Starts below 2^32, so that a carry from half to half would show.
    for (const { hva, size } of counters) hostMm.storeUser(cpu, hva, size, start, true);
    const task: Task = { role: "increment", data: { counters, rounds: 10_000 } };
    const done = (await runThreads(host, seed, [task, task])) as number[][];
    for (const [index, { hva, size }] of counters.entries()) {
      const total = BigInt(done[0]![index]! + done[1]![index]!);
      expect(total).toBeGreaterThan(0n);
      expect(hostMm.loadUser(cpu, hva, size, true)).toBe(BigInt.asUintN(size * 8, start + total));
    }
  });

  it("an access never meets a frame that munmap let go", { timeout: TIME_LIMIT_MS }, async () => {
    const host = makeSharedHost();
    const { hostMm, cpu, machine, gate } = host;
    const pages = 4;
    const base = hostMm.mmapBacked(cpu, pages * PAGE, { writable: true });
    hostMm.munmap(cpu, base, pages * PAGE);
    cpu.rcuBarrier();
    const frames = machine.frames.allocatedFrames(cpu);
    const stop: Address = offset(gate, 64);
    const data = {
      base,
      pages,
      rounds: 2_000,
      ours: 0x600d_600d_600d_600dn,
      theirs: 0xbad0_bad0_bad0_bad0n,
      stop,
    };
    const [rounds, counts] = (await runThreads(host, seed, [
      { role: "remap", data },
      { role: "access", data },
    ])) as [number, { hits: number; misses: number }];
    expect(rounds).toBe(2_000);
    expect(counts.hits).toBeGreaterThan(0);
    expect(counts.misses).toBeGreaterThan(0);
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
    const slabGrowth = machine.frames.allocatedFrames(cpu) - frames;
    expect(slabGrowth).toBeGreaterThanOrEqual(0);
    expect(slabGrowth).toBeLessThan(40);
  });
});
