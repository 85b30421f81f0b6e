import { LockGraph, RWLOCK_BYTES, type RwLock, ThreadMachine, withLockdep } from "../src/index.js";

const machine = ThreadMachine.create({ arenaBytes: 16 << 20 });
const cpu = withLockdep(new LockGraph())(machine.attach());
const lockClass = { name: "kvm->mmu_lock", sleeps: false };
const address = machine.frames.allocateSpan(cpu, RWLOCK_BYTES);
const mmuLock: RwLock = { kind: "rwlock", address, lockClass };

const table = machine.frames.allocateFrame(cpu); // 512 words of 64 bits
cpu.writeOnce(table, 0x8000000000000107n); // bit 8: Accessed
cpu.readLock(mmuLock);
const young = cpu.clearBitsWhere(table, 512, 0x100n, 0x100n, 0x100n, "fetch-and");
cpu.readUnlock(mmuLock);
cpu.lockdep.assertNothingHeld();
console.log(young, cpu.readOnce(table).toString(16)); // 1 8000000000000007
