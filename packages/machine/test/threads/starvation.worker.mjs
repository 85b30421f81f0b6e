// Readers take the lock back to back until the writer has had it often enough.
import { check, torture } from "./worker.mjs";

torture(({ cpu, lock, mode, done, writes, maxReads }) => {
  if (mode === "write") {
    for (let write = 0; write < writes; write++) {
      cpu.writeLock(lock);
      cpu.writeUnlock(lock);
    }
    cpu.storeRelease32(done, 1);
    return writes;
  }
  let reads = 0;
  while (cpu.loadAcquire32(done) === 0) {
    check(reads++ < maxReads, `the writer is still not done after ${maxReads} reads`);
    cpu.readLock(lock);
    cpu.readUnlock(lock);
  }
  return reads;
});
