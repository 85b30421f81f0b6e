import { type Address, type Cpu, noLockdepHooks, offset } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import { arenaDifference, ReplayingCpu, ReplayMismatchError } from "../src/index.js";
import { Rig } from "./rig.js";

/** Something of everything: accesses, a run, a lock, RCU, a flush, and `finally`. */
function operation({ word, word32, rwlock, domain }: Rig, cpu: Cpu): bigint {
  cpu.writeLock(rwlock);
  try {
    cpu.rcuReadLock();
    try {
      for (let index = 0; index < 8; index++) cpu.fetchAdd(offset(word, index * 8), 3n, "full");
      cpu.clearBitsWhere(word, 8, 1n, 1n, 2n, "cmpxchg");
    } finally {
      cpu.rcuReadUnlock();
    }
    cpu.fetchOr32(word32, 4, "full");
    cpu.flushRemoteTlbs(domain, null);
    if (cpu.tracing) cpu.trace({ name: "done", fields: { count: 8 } });
    return cpu.readOnce(word);
  } finally {
    cpu.writeUnlock(rwlock);
  }
}

describe("an operation that is suspended at every step", () => {
  it("ends as at one go, with the same result and the same arena", () => {
    const plain = new Rig();
    const replayed = new Rig();
    const cpu = new ReplayingCpu(replayed.cpu);
    for (const _round of [1, 2]) {
      expect(cpu.run((suspending) => operation(replayed, suspending))).toBe(operation(plain, plain.cpu));
    }
    expect(arenaDifference(replayed.machine.arena, plain.machine.arena)).toBeNull();
    // 4 steps of locks, 8 additions, a run of 8 words (first time with 8 exchanges), a flush of 2 accesses, 2 more; each
    // but the first suspends.
    expect(cpu.suspensions).toBe(4 + 8 + (8 + 8) + 2 + 2 - 1 + (4 + 8 + 8 + 2 + 2 - 1));
    expect(cpu.lockdep).toBe(noLockdepHooks);
  });

  it("emits each trace event once", () => {
    const rig = new Rig();
    const cpu = new ReplayingCpu(rig.cpu, true);
    cpu.run((suspending) => operation(rig, suspending));
    expect(cpu.events).toEqual([{ name: "done", fields: { count: 8 } }]);
  });

  it("throws what it throws", () => {
    const { cpu, word } = new Rig();
    const failing = (suspending: Cpu): void => {
      suspending.readOnce(word);
      throw new RangeError(`word is ${suspending.readOnce(word)}`);
    };
    expect(() => new ReplayingCpu(cpu).run(failing)).toThrow(new RangeError("word is 0"));
  });

  it("runs RCU callbacks below, as no part of it", () => {
    const { cpu, word } = new Rig();
    const replaying = new ReplayingCpu(cpu);
    const runners: Cpu[] = [];
    replaying.run((suspending) => {
      suspending.callRcu(word, { id: 9, run: (by) => runners.push(by) });
      suspending.rcuBarrier();
      suspending.readOnce(word);
    });
    expect(runners).toEqual([cpu]);
  });
});

describe("an operation that is not deterministic given what its accesses return", () => {
  const odd: [string, (calls: number, cpu: Cpu, word: Address) => void, RegExp][] = [
    [
      "another step",
      (calls, cpu, word) => (calls % 2 === 1 ? cpu.readOnce(word) : cpu.loadAcquire(word)),
      /access 1 was readOnce\(0x[0-9a-f]+\), is loadAcquire\(0x[0-9a-f]+\) on replay/,
    ],
    [
      "another address",
      (calls, cpu, word) => cpu.readOnce(offset(word, 8 * (calls % 2))),
      /access 1 was readOnce/,
    ],
    [
      "another value",
      (calls, cpu, word) => cpu.writeOnce(word, BigInt(calls)),
      /access 1 was writeOnce\(0x[0-9a-f]+, 1\), is writeOnce\(0x[0-9a-f]+, 2\) on replay/,
    ],
    [
      "another order",
      (calls, cpu, word) => cpu.fetchAnd(word, 0n, calls % 2 === 0 ? "full" : "acquire"),
      /access 1 was fetchAnd/,
    ],
    [
      "another event",
      (calls, cpu) => cpu.trace({ name: "x", fields: { calls } }),
      /access 1 was trace\(x, 1\), is trace\(x, 2\) on replay/,
    ],
  ];

  it.each(odd)("is found out: %s", (_name, middle, message) => {
    const { cpu, word } = new Rig();
    const run = (): void => {
      let calls = 0;
      new ReplayingCpu(cpu).run((suspending) => {
        suspending.preemptDisable();
        try {
          middle(calls++, suspending, word);
          suspending.readOnce(word);
        } finally {
          suspending.preemptEnable();
        }
      });
    };
    expect(run).toThrow(ReplayMismatchError);
    expect(run).toThrow(message);
  });

  it("is found out: an early end", () => {
    const { cpu, word } = new Rig();
    let calls = 0;
    const run = (): void =>
      new ReplayingCpu(cpu).run((suspending) => {
        for (let reads = calls++ < 2 ? 3 : 1; reads > 0; reads--) suspending.readOnce(word);
      });
    expect(run).toThrow(/access 1 was readOnce\(0x[0-9a-f]+\), is the end on replay/);
  });
});

describe("two arenas", () => {
  it("differ from the first byte that does", () => {
    const [one, other] = [new Rig(), new Rig()];
    expect(arenaDifference(one.machine.arena, other.machine.arena)).toBeNull();
    one.cpu.writeOnce(offset(one.word, 8), 0x10000n);
    one.cpu.writeOnce(offset(one.word, 32), 1n);
    expect(arenaDifference(one.machine.arena, other.machine.arena)).toBe(one.word + 10);
  });
});
