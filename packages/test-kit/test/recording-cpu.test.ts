import { traceTo } from "@kvm-age/machine";
import { expect, it } from "vitest";
import { EndlessYieldError, RecordingCpu } from "../src/index.js";
import { Rig } from "./rig.js";

it("logs what orders, by the kernel's names, and neither accesses nor questions", () => {
  const { cpu, word, rwlock, srcu, domain } = new Rig();
  const recording = new RecordingCpu(cpu);
  const index = recording.srcuReadLock(srcu);
  recording.writeLock(rwlock);
  recording.rwlockNeedbreak(rwlock);
  recording.rcuReadLock();
  recording.cmpxchg(word, 0n, 1n, "full");
  recording.smpWmb();
  recording.flushRemoteTlbs(domain, { startGfn: 0x400, pages: 512 });
  recording.flushRemoteTlbs(domain, null);
  recording.log.push("a line of the test");
  recording.trace({ name: "kvm_unmapped", fields: { gfn: 3 } });
  recording.rcuReadUnlock();
  recording.writeUnlock(rwlock);
  recording.srcuReadUnlock(srcu, index);
  expect(recording.log).toEqual([
    "srcu_read_lock srcu",
    "write_lock mmu_lock",
    "rcu_read_lock",
    "smp_wmb",
    "flush 0x400+512",
    "flush",
    "a line of the test",
    "kvm_unmapped",
    "rcu_read_unlock",
    "write_unlock mmu_lock",
    "srcu_read_unlock srcu",
  ]);
  expect(recording.only("write", "kvm")).toEqual([
    "write_lock mmu_lock",
    "kvm_unmapped",
    "write_unlock mmu_lock",
  ]);
  expect(recording.flushes()).toEqual(["flush 0x400+512", "flush"]);
});

it("tells writes from reads, and word from word; a failed exchange counts", () => {
  const { cpu, word, word32 } = new Rig();
  const recording = new RecordingCpu(cpu);
  recording.readOnce(word);
  recording.cmpxchg(word, 7n, 8n, "full");
  recording.relax(word);
  recording.fetchOr32(word32, 1, "full");
  expect(recording.writesTo(word)).toEqual(["cmpxchg"]);
  expect(recording.stepsAt(word)).toEqual(["readOnce", "cmpxchg", "relax"]);
  expect(recording.writes().map(({ address, operands }) => [address, ...operands])).toEqual([
    [word, 7n, 8n, "full"],
    [word32, 1, "full"],
  ]);
});

it("keeps trace events, and hands them on to whoever traces below", () => {
  const { cpu } = new Rig();
  const below: string[] = [];
  const recording = new RecordingCpu(traceTo((_cpu, { name }) => below.push(name))(cpu));
  for (const gfn of [1, 2]) recording.trace({ name: "aged", fields: { gfn } });
  recording.trace({ name: "zapped", fields: {} });
  expect(recording.eventNames()).toEqual(["aged", "aged", "zapped"]);
  expect(recording.fieldsOf("aged")).toEqual([{ gfn: 1 }, { gfn: 2 }]);
  expect(below).toEqual(recording.eventNames());
  expect([new RecordingCpu(cpu).tracing, new RecordingCpu(cpu, false).tracing]).toEqual([true, false]);
});

it("answers for the scheduler as the test says", () => {
  const { cpu, word, rwlock } = new Rig();
  const recording = new RecordingCpu(cpu);
  recording.needbreak = (lock) => lock === rwlock;
  recording.onCondResched = (other) => other.writeOnce(word, 4n);
  expect(recording.rwlockNeedbreak(rwlock)).toBe(true);
  recording.condResched();
  expect(recording.steps.map(({ kind }) => kind)).toEqual(["rwlockNeedbreak", "condResched"]);
  expect(cpu.readOnce(word)).toBe(4n);
});

it("stops an operation that gives way for ever", () => {
  const recording = new RecordingCpu(new Rig().cpu);
  const yieldOnce = (): void => recording.condResched();
  for (let count = 0; count < 10_000; count++) yieldOnce();
  expect(yieldOnce).toThrow(EndlessYieldError);
  expect(yieldOnce).toThrow("gave the processor away 10002 times, allowed: 10000");
});
