import { type Cpu, ForwardingCpu } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import { type Operand, RecordingCpu, type StepKind, SteppingCpu } from "../src/index.js";
import { Rig } from "./rig.js";

type Case = readonly [
  kind: StepKind,
  call: (cpu: Cpu, rig: Rig) => unknown,
  result: unknown,
  ...operands: Operand[],
];

/** Every step there is, in an order in which each can be taken, with what it returns and its operands. */
const CASES: readonly Case[] = [
  ["writeOnce", (cpu, { word }) => cpu.writeOnce(word, 5n), undefined, 5n],
  ["readOnce", (cpu, { word }) => cpu.readOnce(word), 5n],
  ["storeRelease", (cpu, { word }) => cpu.storeRelease(word, 6n), undefined, 6n],
  ["loadAcquire", (cpu, { word }) => cpu.loadAcquire(word), 6n],
  ["cmpxchg", (cpu, { word }) => cpu.cmpxchg(word, 6n, 7n, "acquire"), 6n, 6n, 7n, "acquire"],
  ["xchg", (cpu, { word }) => cpu.xchg(word, 12n, "full"), 7n, 12n, "full"],
  ["fetchAnd", (cpu, { word }) => cpu.fetchAnd(word, 4n, "relaxed"), 12n, 4n, "relaxed"],
  ["fetchOr", (cpu, { word }) => cpu.fetchOr(word, 3n, "release"), 4n, 3n, "release"],
  ["fetchAdd", (cpu, { word }) => cpu.fetchAdd(word, 1n, "full"), 7n, 1n, "full"],
  ["memset64", (cpu, { word }) => cpu.memset64(word, 9n, 3), undefined, 9n, 3],
  ["writeOnce32", (cpu, { word32 }) => cpu.writeOnce32(word32, 5), undefined, 5],
  ["readOnce32", (cpu, { word32 }) => cpu.readOnce32(word32), 5],
  ["storeRelease32", (cpu, { word32 }) => cpu.storeRelease32(word32, 6), undefined, 6],
  ["loadAcquire32", (cpu, { word32 }) => cpu.loadAcquire32(word32), 6],
  ["cmpxchg32", (cpu, { word32 }) => cpu.cmpxchg32(word32, 6, 7, "acquire"), 6, 6, 7, "acquire"],
  ["xchg32", (cpu, { word32 }) => cpu.xchg32(word32, 12, "full"), 7, 12, "full"],
  ["fetchAnd32", (cpu, { word32 }) => cpu.fetchAnd32(word32, 4, "relaxed"), 12, 4, "relaxed"],
  ["fetchOr32", (cpu, { word32 }) => cpu.fetchOr32(word32, 3, "release"), 4, 3, "release"],
  ["fetchAdd32", (cpu, { word32 }) => cpu.fetchAdd32(word32, -1, "full"), 7, -1, "full"],
  ["smpMb", (cpu) => cpu.smpMb(), undefined],
  ["smpRmb", (cpu) => cpu.smpRmb(), undefined],
  ["smpWmb", (cpu) => cpu.smpWmb(), undefined],
  ["relax", (cpu, { word }) => cpu.relax(word), undefined],
  ["needResched", (cpu) => cpu.needResched(), false],
  ["condResched", (cpu) => cpu.condResched(), undefined],
  ["preemptDisable", (cpu) => cpu.preemptDisable(), undefined],
  ["preemptEnable", (cpu) => cpu.preemptEnable(), undefined],
  ["readLock", (cpu, { rwlock }) => cpu.readLock(rwlock), undefined, "mmu_lock"],
  ["readUnlock", (cpu, { rwlock }) => cpu.readUnlock(rwlock), undefined, "mmu_lock"],
  ["writeLock", (cpu, { rwlock }) => cpu.writeLock(rwlock), undefined, "mmu_lock"],
  ["rwlockNeedbreak", (cpu, { rwlock }) => cpu.rwlockNeedbreak(rwlock), false, "mmu_lock"],
  ["writeUnlock", (cpu, { rwlock }) => cpu.writeUnlock(rwlock), undefined, "mmu_lock"],
  ["spinLock", (cpu, { spinlock }) => cpu.spinLock(spinlock), undefined, "ptl"],
  ["spinTrylock", (cpu, { spinlock }) => cpu.spinTrylock(spinlock), false, "ptl"],
  ["spinUnlock", (cpu, { spinlock }) => cpu.spinUnlock(spinlock), undefined, "ptl"],
  ["mutexLock", (cpu, { mutex }) => cpu.mutexLock(mutex), undefined, "slots_lock"],
  ["mutexUnlock", (cpu, { mutex }) => cpu.mutexUnlock(mutex), undefined, "slots_lock"],
  ["rcuReadLock", (cpu) => cpu.rcuReadLock(), undefined],
  ["rcuReadUnlock", (cpu) => cpu.rcuReadUnlock(), undefined],
  ["callRcu", (cpu, { word }) => cpu.callRcu(word, { id: 9, run: () => {} }), undefined, 9],
  ["synchronizeRcu", (cpu) => cpu.synchronizeRcu(), undefined],
  ["rcuBarrier", (cpu) => cpu.rcuBarrier(), undefined],
  ["srcuReadLock", (cpu, { srcu }) => cpu.srcuReadLock(srcu), 0, "srcu"],
  ["srcuReadUnlock", (cpu, { srcu }) => cpu.srcuReadUnlock(srcu, 0), undefined, "srcu", 0],
  ["synchronizeSrcu", (cpu, { srcu }) => cpu.synchronizeSrcu(srcu), undefined, "srcu"],
  ["flushRemoteTlbs", (cpu, { domain }) => cpu.flushRemoteTlbs(domain, null), undefined],
  [
    "trace",
    (cpu) => cpu.trace({ name: "aged", fields: { gfn: 3, young: true } }),
    undefined,
    "aged",
    3,
    true,
  ],
];

/** Where each step is: what has no address is not in the list. */
function addressOf(kind: StepKind, rig: Rig): number | null {
  if (/^(smp|preempt|synchronizeRcu|rcu)|[rR]esched$|^trace$/.test(kind) && kind !== "rwlockNeedbreak")
    return null;
  if (kind.endsWith("32")) return rig.word32;
  if (/^(read|write)(Unl|L)ock$|^rwlock/.test(kind)) return rig.rwlock.address;
  if (kind.startsWith("spin")) return rig.spinlock.address;
  if (kind.startsWith("mutex")) return rig.mutex.address;
  if (/srcu/i.test(kind)) return rig.srcu.address;
  return kind === "flushRemoteTlbs" ? rig.domain.address : rig.word;
}

describe("every method of a Cpu", () => {
  it("has a case here, and comes by as a step", () => {
    const methods = Object.getOwnPropertyNames(ForwardingCpu.prototype);
    const steps = methods.filter((name) => !["constructor", "runCallback", "clearBitsWhere"].includes(name));
    expect(CASES.map(([kind]) => kind as string).sort()).toEqual(steps.sort());
    expect(Object.getOwnPropertyNames(SteppingCpu.prototype)).toEqual(expect.arrayContaining(steps));
  });

  it("is one step with its address and operands, and does what the inner processor does", () => {
    const plain = new Rig();
    const stepped = new Rig();
    const cpu = new RecordingCpu(stepped.cpu);
    for (const [index, [kind, call, result, ...operands]] of CASES.entries()) {
      expect([kind, call(plain.cpu, plain)]).toEqual([kind, result]);
      expect([kind, call(cpu, stepped)]).toEqual([kind, result]);
      expect(cpu.steps).toHaveLength(index + 1);
      expect(cpu.steps[index]).toEqual({ kind, address: addressOf(kind, stepped), operands });
    }
    for (const at of [plain.word, plain.word32]) {
      expect(stepped.cpu.readOnce(at)).toBe(plain.cpu.readOnce(at));
    }
  });

  it("a run of words is the accesses that define it", () => {
    const { cpu, word } = new Rig();
    cpu.memset64(word, 0x101n, 2);
    const recording = new RecordingCpu(cpu);
    expect(recording.clearBitsWhere(word, 3, 1n, 1n, 0x100n, "fetch-and")).toBe(2);
    expect(recording.steps.map(({ kind }) => kind)).toEqual([
      ...["readOnce", "fetchAnd"],
      ...["readOnce", "fetchAnd"],
      "readOnce",
    ]);
    expect(cpu.readOnce(word)).toBe(1n);
  });

  it("an RCU callback runs on the outer processor", () => {
    const { cpu, word } = new Rig();
    const recording = new RecordingCpu(cpu);
    recording.callRcu(word, { id: 9, run: (by, head) => by.writeOnce(head, 1n) });
    recording.rcuBarrier();
    expect(recording.writesTo(word)).toEqual(["writeOnce"]);
  });
});
