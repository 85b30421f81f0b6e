import { expect, it } from "vitest";
import { MMU_STATISTIC_NAMES, MMU_STATISTICS_BYTES, MmuStatistics } from "../src/index.js";
import { Rig } from "./kit/rig.js";

it("every counter has a word of its own inside the stated bytes", () => {
  const { cpu, machine } = new Rig();
  const address = machine.frames.allocateSpan(cpu, MMU_STATISTICS_BYTES);
  const statistics = new MmuStatistics(address);
  for (const [index, name] of MMU_STATISTIC_NAMES.entries()) {
    const word = statistics.word(name);
    expect(word).toBeGreaterThanOrEqual(address);
    expect(word + 4).toBeLessThanOrEqual(address + MMU_STATISTICS_BYTES);
    cpu.writeOnce32(word, index + 1);
  }
  const expected = MMU_STATISTIC_NAMES.map((name, index) => [name, index + 1]);
  expect(statistics.read(cpu)).toEqual(Object.fromEntries(expected));
});

it.each([
  [1, "pages_4k"],
  [2, "pages_2m"],
  [3, "pages_1g"],
] as const)("leaves of level %i are counted as %s", (level, name) => {
  const { statistics } = new Rig();
  expect(statistics.pageWord(level)).toBe(statistics.word(name));
});

it("another thread's view of the same words sees the same counts", () => {
  const { cpu, machine } = new Rig();
  const address = machine.frames.allocateSpan(cpu, MMU_STATISTICS_BYTES);
  cpu.fetchAdd32(new MmuStatistics(address).word("mmu_unsync"), 3, "relaxed");
  expect(new MmuStatistics(address).read(cpu).mmu_unsync).toBe(3);
});
