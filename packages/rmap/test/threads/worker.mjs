// What every worker has in common: it attaches to the machine and the reverse maps, waits until all workers are there, runs
// its body and reports the result. Loads the built packages: a worker thread cannot load TypeScript.
import { parentPort, workerData } from "node:worker_threads";
import { ThreadMachine } from "@kvm-age/machine";
import { attachKvmRmaps } from "../../dist/index.js";

/** Numbers in [0, bound), from a seed (mulberry32). */
function randomBelow(seed) {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}

/** Holds every worker back until `workers` of them have arrived at the word `gate`. */
function waitForAll(cpu, gate, workers) {
  cpu.fetchAdd32(gate, 1, "full");
  while (cpu.loadAcquire32(gate) < workers) cpu.relax(gate);
}

/** Runs `body({ cpu, rmaps, random, ...data })` as one of the workers. */
export function work(body) {
  const { handle, rmapsHandle, mmuLock, gate, workers, index, seed, data } = workerData;
  const machine = ThreadMachine.from(handle);
  const rmaps = attachKvmRmaps(machine, rmapsHandle, { mmuLock });
  const cpu = machine.attach();
  waitForAll(cpu, gate, workers);
  const result = body({ cpu, rmaps, random: randomBelow(seed * 31 + index), ...data });
  cpu.detach();
  parentPort.postMessage(result ?? null);
}

/** Fails the worker, and the test with it, unless `condition` holds. */
export function check(condition, message) {
  if (!condition) throw new Error(message);
}
