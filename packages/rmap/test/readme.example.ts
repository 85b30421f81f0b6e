import { RWLOCK_BYTES, ThreadMachine } from "@kvm-age/machine";
import * as rmap from "../src/index.js";

const machine = ThreadMachine.create({ arenaBytes: 4 << 20 });
const cpu = machine.attach();
const span = (bytes: number) => machine.frames.allocateSpan(cpu, bytes);
const mmuLock = {
  kind: "rwlock",
  address: span(RWLOCK_BYTES),
  lockClass: { name: "mmu_lock", sleeps: false },
} as const;
const rmaps = rmap.createKvmRmaps(cpu, machine, { mmuLock });
const head = span(8) as rmap.KvmRmapHead;
const sptep = span(4096);

// Two SPTEs map the same page; each change needs mmu_lock and the list's own bit, which pteListAdd takes.
cpu.writeLock(mmuLock);
const before = [0, 8].map((bytes) =>
  rmap.pteListAdd(rmaps, cpu, rmaps.descriptors, (sptep + bytes) as never, head),
);
cpu.writeUnlock(mmuLock);

// An ager walks the list with the bit alone.
const value = rmap.kvmRmapLockReadonly(rmaps, cpu, head);
const iterator = new rmap.RmapIterator();
const found: number[] = [];
for (let at = iterator.getFirst(cpu, value); at !== 0; at = iterator.getNext(cpu)) found.push(at - sptep);
rmap.kvmRmapUnlockReadonly(rmaps, cpu, head, value);

export const text: string = `entries before: ${before}; found at: ${found}`;
