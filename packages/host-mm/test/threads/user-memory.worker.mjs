// One thread of user-memory-threads.test.ts. Loads the built packages: a worker thread cannot load TypeScript.
import { parentPort, workerData } from "node:worker_threads";
import { ThreadMachine, withAddressSanitizer } from "@kvm-age/machine";
import { attachHostMm } from "../../dist/index.js";

const { machineHandle, hostHandle, gate, workers, seed, role, data } = workerData;

function check(condition, message) {
  if (!condition) throw new Error(message);
}

/** Numbers in [0, bound), from a seed (mulberry32). */
let state = seed >>> 0;
function random(bound) {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
}

/** Adds 1 to counters of 4 and 8 bytes beside each other, by compare and exchange; returns the increments of each. */
function increment({ hostMm, cpu }, { counters, rounds }) {
  const done = counters.map(() => 0);
  for (let round = 0; round < rounds; round++) {
    const which = random(counters.length);
    const { hva, size } = counters[which];
    for (;;) {
      const seen = hostMm.loadUser(cpu, hva, size, random(2) === 0);
      const outcome = hostMm.cmpxchgUser(cpu, hva, size, seen, BigInt.asUintN(size * 8, seen + 1n));
      check(outcome !== "fault", "the counter went away");
      if (outcome === "done") break;
    }
    done[which]++;
  }
  return done;
}

/** Maps, fills, unmaps, and has all frames that are free used by somebody else, who must find them untouched. */
function remap({ machine, hostMm, cpu, rawCpu }, { base, pages, rounds, ours, theirs, stop }) {
  const foreign = [];
  for (let round = 0; round < rounds; round++) {
    const mapped = hostMm.mmapBacked(cpu, pages * 4096, { writable: true });
    check(mapped === base, "the gap is another one");
    for (let page = 0; page < pages; page++) hostMm.storeUser(cpu, base + page * 4096, 8, ours, true);
    for (let pause = random(50); pause > 0; pause--) hostMm.loadUser(cpu, base, 8, true);
    hostMm.munmap(cpu, base, pages * 4096);
    for (let frame = 0; frame < 2 * pages; frame++) foreign.push(machine.frames.allocateFrame(cpu, theirs));
    for (let pause = random(50); pause > 0; pause--) hostMm.loadUser(cpu, base, 8, true);
    for (const frame of foreign.splice(0)) {
      check(rawCpu.readOnce(frame) === theirs, `frame ${frame} was written by who does not own it`);
      machine.frames.freeFrame(cpu, frame);
    }
    // However long the other thread is kept from running inside a read section, what waits for it stays little.
    if (round % 16 === 0) cpu.rcuBarrier();
  }
  cpu.storeRelease32(stop, 1);
  return rounds;
}

/** Reads and writes memory that comes and goes; returns how often it was there and how often not. */
function access({ hostMm, cpu }, { base, pages, ours, stop }) {
  let hits = 0;
  let misses = 0;
  while (cpu.loadAcquire32(stop) === 0) {
    const hva = base + random(pages) * 4096;
    const atomic = random(2) === 0;
    const value = hostMm.loadUser(cpu, hva, 8, atomic);
    check(value === null || value === 0n || value === ours, `loaded 0x${value?.toString(16)}`);
    if (value === null) misses++;
    else hits++;
    if (random(4) === 0) hostMm.storeUser(cpu, hva, 8, ours, atomic);
    if (random(4) === 0) hostMm.cmpxchgUser(cpu, hva, 8, 0n, ours);
  }
  return { hits, misses };
}

const machine = ThreadMachine.from(machineHandle);
const rawCpu = machine.attach();
const cpu = withAddressSanitizer(machine.frames)(rawCpu);
const hostMm = attachHostMm(machine, hostHandle);
rawCpu.fetchAdd32(gate, 1, "full");
while (rawCpu.loadAcquire32(gate) < workers) rawCpu.relax(gate);
const result = { increment, remap, access }[role]({ machine, hostMm, cpu, rawCpu }, data);
rawCpu.detach();
parentPort.postMessage(result);
