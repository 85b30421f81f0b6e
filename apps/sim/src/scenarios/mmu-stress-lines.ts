import type { MmuStressResult } from "../results/mmu-stress-result.js";
import { formatTimespec } from "../terminal/format-timespec.js";

/** The words of the last line for the rendezvous that it shows. */
const TIMED = [
  ["run1", "run 1"],
  ["reset", "reset"],
  ["run2", "run 2"],
  ["ro", "mprotect RO"],
  ["rw", "mprotect RW"],
] as const;

function rendezvousLines(result: MmuStressResult): string[] {
  const gib = (result.slots.count * result.slots.pages) / 2 ** 18;
  const running = `Running with ${gib}gb of guest memory and ${result.options.vcpus} vCPUs`;
  return result.rendezvous.flatMap(({ name }) => [
    // The selftest says so when all threads are there and about to be released.
    ...(name === "spawning" ? [running] : []),
    `Waiting for vCPUs to finish ${name}...`,
    `\rAll vCPUs finished ${name}, releasing...`,
  ]);
}

/**
 * The lines of `mmu_stress_test`, equal to the selftest's apart from the numbers, and apart from the line that counts the missing vCPUs, which the
 * carriage return overwrites.
 */
export function mmuStressLines(result: MmuStressResult): string[] {
  const seconds = new Map<string, number>(result.rendezvous.map(({ name, seconds }) => [name, seconds]));
  const timed = TIMED.filter(([, name]) => seconds.has(name));
  const times = timed.map(([word, name]) => `${word} = ${formatTimespec(seconds.get(name)!)}`);
  return [`Random seed: 0x${result.seed.toString(16)}`, ...rendezvousLines(result), times.join(", ")];
}
