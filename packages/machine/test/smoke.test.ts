import { expect, it } from "vitest";
import { RWLOCK_BYTES, ThreadMachine, type RwLock } from "../src/index.js";

it("smoke", () => {
  const m = ThreadMachine.create({ arenaBytes: 1 << 22 });
  const cpu = m.attach();
  const f = m.frames.allocateFrame(cpu, 5n);
  expect(cpu.readOnce(f)).toBe(5n);
  expect(cpu.cmpxchg(f, 5n, 0x8000000000000001n, "full")).toBe(5n);
  expect(cpu.loadAcquire(f)).toBe(0x8000000000000001n);
  m.frames.freeFrame(cpu, f);
  expect(() => m.frames.freeFrame(cpu, f)).toThrow(/freed twice/);
  const slab = m.createSlab(cpu, "x", 128);
  const a = slab.allocate(cpu), b = slab.allocate(cpu);
  slab.free(cpu, a); slab.free(cpu, b);
  expect(() => slab.free(cpu, b)).toThrow(/freed twice/);
  const lock: RwLock = { kind: "rwlock", address: m.frames.allocateSpan(cpu, RWLOCK_BYTES), lockClass: { name: "l", sleeps: false } };
  cpu.readLock(lock); cpu.readUnlock(lock); cpu.writeLock(lock); cpu.writeUnlock(lock);
  expect(cpu.clearBitsWhere(f, 10, 1n, 1n, 1n, "cmpxchg")).toBe(0);
  cpu.detach();
});
