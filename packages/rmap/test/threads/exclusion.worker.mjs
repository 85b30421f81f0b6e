// Keeps two words equal under the read-only lock of one list, by steps that a second holder would see in between.
import { kvmRmapLockReadonly, kvmRmapUnlockReadonly } from "../../dist/index.js";
import { check, work } from "./worker.mjs";

work(({ cpu, rmaps, random, head, words, rounds }) => {
  const [left, right] = words;
  for (let round = 0; round < rounds; round++) {
    const value = kvmRmapLockReadonly(rmaps, cpu, head);
    check(value !== 0n, "the list is not empty");
    const before = cpu.readOnce32(left);
    check(cpu.readOnce32(right) === before, "the words differ at entry");
    cpu.writeOnce32(left, before + 1);
    for (let pause = random(20); pause > 0; pause--) cpu.loadAcquire32(left);
    cpu.writeOnce32(right, before + 1);
    kvmRmapUnlockReadonly(rmaps, cpu, head, value);
  }
});
