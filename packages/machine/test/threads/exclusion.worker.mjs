// Keeps two words equal under a lock, by steps that a second holder would see in between.
import { check, torture } from "./worker.mjs";

torture(({ cpu, random, lock, words, rounds, readEvery }) => {
  const [left, right] = words;
  let writes = 0;
  const update = () => {
    const before = cpu.readOnce32(left);
    check(cpu.readOnce32(right) === before, "the words differ at entry");
    cpu.writeOnce32(left, before + 1);
    for (let pause = random(20); pause > 0; pause--) cpu.loadAcquire32(left);
    cpu.writeOnce32(right, before + 1);
    writes++;
  };
  const read = () => {
    for (let look = 0; look < 3; look++) {
      check(cpu.loadAcquire32(left) === cpu.loadAcquire32(right), "a reader saw a writer at work");
    }
  };
  const exclusively = {
    rwlock: [(at) => cpu.writeLock(at), (at) => cpu.writeUnlock(at)],
    mutex: [(at) => cpu.mutexLock(at), (at) => cpu.mutexUnlock(at)],
    spinlock: [
      (at) => {
        if (random(2) === 0 && cpu.spinTrylock(at)) return;
        cpu.spinLock(at);
      },
      (at) => cpu.spinUnlock(at),
    ],
  }[lock.kind];

  for (let round = 0; round < rounds; round++) {
    if (readEvery > 0 && random(readEvery) !== 0) {
      cpu.readLock(lock);
      read();
      cpu.readUnlock(lock);
    } else {
      exclusively[0](lock);
      update();
      exclusively[1](lock);
    }
  }
  return writes;
});
