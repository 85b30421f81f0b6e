import { type Address, type Cpu, ThreadMachine } from "@kvm-age/machine";
import { arenaDifference, InterferingCpu, RecordingCpu, ReplayingCpu } from "../src/index.js";

/** The code under test: clears bit 0 unless the word changes meanwhile, then does without. */
function age(cpu: Cpu, word: Address): boolean {
  const seen = cpu.readOnce(word);
  return (seen & 1n) !== 0n && cpu.cmpxchg(word, seen, seen & ~1n, "relaxed") === seen;
}

const made = [0, 1].map(() => {
  const machine = ThreadMachine.create({ arenaBytes: 4 << 20 });
  const cpu = machine.attach();
  return { machine, cpu, word: machine.frames.allocateFrame(cpu, 3n) };
});
const [plain, replayed] = made as [(typeof made)[0], (typeof made)[0]];

// Another processor comes between the look and the exchange; what the operation did about it is written down.
const act = (other: Cpu) => other.writeOnce(plain.word, 5n);
const interfering = new InterferingCpu(plain.cpu, [{ step: "cmpxchg", address: plain.word, act }]);
const recording = new RecordingCpu(interfering);
const lost = !age(recording, plain.word);
interfering.assertAllHappened();

// Suspended at every step and replayed, the operation does what it does at one go.
const replaying = new ReplayingCpu(replayed.cpu);
replaying.run((cpu) => age(cpu, replayed.word));
plain.cpu.writeOnce(plain.word, 2n);
const difference = arenaDifference(plain.machine.arena, replayed.machine.arena);

export const text: string = `lost: ${lost}, after ${recording.stepsAt(plain.word)}; difference: ${difference}`;
