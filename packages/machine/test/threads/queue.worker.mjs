// One place in the queue of a rwlock. Asks for the lock when the bits `askWhen` are in its count word, notes at which
// place it got it, and as a reader stays inside until `company` readers are.
import { torture, waitUntil } from "./worker.mjs";

torture(({ cpu, lock, mode, askWhen, places, inside, company }) => {
  const mayAsk = () => (cpu.loadAcquire32(lock.address) & askWhen) === askWhen;
  waitUntil(cpu, lock.address, mayAsk, `the count has 0x${askWhen.toString(16)}`);
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
