// One place in the queue of a rwlock. Asks for the lock when `askAfter` others have queued, notes at which place it
// got it, and as a reader stays inside until `company` readers are.
import { torture, waitUntil } from "./worker.mjs";

torture(({ cpu, lock, mode, askAfter, queued, places, inside, company }) => {
  waitUntil(cpu, queued, () => cpu.loadAcquire32(queued) >= askAfter, `${askAfter} are queued`);
  if (mode === "write") cpu.writeLock(lock);
  else cpu.readLock(lock);
  const place = cpu.fetchAdd32(places, 1, "full");
  if (mode === "read") {
    cpu.fetchAdd32(inside, 1, "full");
    waitUntil(cpu, inside, () => cpu.loadAcquire32(inside) >= company, `${company} readers are inside`);
    cpu.readUnlock(lock);
  } else {
    cpu.writeUnlock(lock);
  }
  return { mode, place };
});
