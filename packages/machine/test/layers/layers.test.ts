import { describe, expect, it } from "vitest";
import {
  type Cpu,
  ForwardingCpu,
  LockGraph,
  noLayer,
  noLockdepHooks,
  type TraceEvent,
  traceTo,
  withLockdep,
} from "../../src/index.js";
import { oneCpu, someLocks } from "../support/machine.js";

class PlainForwarding extends ForwardingCpu {}

describe("null forms", () => {
  it("noLayer is the processor itself", () => {
    const { cpu } = oneCpu();
    expect(noLayer(cpu)).toBe(cpu);
  });

  it("a thread's hooks and trace do nothing", () => {
    const { machine, cpu } = oneCpu();
    const { mmuLock } = someLocks(machine, cpu);
    expect(cpu.lockdep).toBe(noLockdepHooks);
    cpu.lockdep.assertHeld(mmuLock, "write");
    cpu.lockdep.assertNotHeld(mmuLock);
    cpu.lockdep.assertPreemptionDisabled();
    cpu.lockdep.assertRcuReadLockHeld();
    cpu.lockdep.assertAnyHeld();
    cpu.lockdep.mightSleep();
    cpu.lockdep.acquired(mmuLock.lockClass, mmuLock.address);
    cpu.lockdep.released(mmuLock.lockClass, mmuLock.address);
    cpu.trace();
    expect(cpu.tracing).toBe(false);
  });
});

describe("forwarding", () => {
  /** A `Cpu` that writes down what is called, and answers each call with a value of its own. */
  function recording(): { cpu: Cpu; calls: unknown[][] } {
    const calls: unknown[][] = [];
    const cpu = new Proxy({ id: 3, lockdep: noLockdepHooks, tracing: true } as Cpu, {
      get: (target, name) =>
        name in target
          ? target[name as keyof Cpu]
          : (...values: unknown[]) => {
              calls.push([name, ...values]);
              return `result of ${String(name)}`;
            },
    });
    return { cpu, calls };
  }

  it("hands every call to the inner processor with its arguments, and its result back", () => {
    const { cpu, calls } = recording();
    const layer = new PlainForwarding(cpu);
    expect([layer.id, layer.tracing]).toEqual([3, true]);
    expect(layer.lockdep).toBe(noLockdepHooks);
    const names = Object.getOwnPropertyNames(ForwardingCpu.prototype).filter(
      (name) => !["constructor", "callRcu", "runCallback"].includes(name),
    );
    expect(names.length).toBe(47);
    for (const name of names) {
      const method = (layer as unknown as Record<string, (...values: unknown[]) => unknown>)[name]!;
      const values = Array.from({ length: method.length }, (_, index) => `${name} ${index}`);
      const result = method.apply(layer, values);
      expect(calls.pop()).toEqual([name, ...values]);
      expect([undefined, `result of ${name}`]).toContain(result);
    }
  });

  it("covers the contract: a thread's processor has no method that a layer lacks", () => {
    const { cpu } = oneCpu();
    const own = Object.getOwnPropertyNames(Object.getPrototypeOf(cpu)).filter((name) => name !== "detach");
    expect(own.filter((name) => !(name in ForwardingCpu.prototype))).toEqual([]);
  });

  it("runs RCU callbacks on the outermost layer", () => {
    const { machine, cpu } = oneCpu();
    const outer = new PlainForwarding(new PlainForwarding(cpu));
    const ran: unknown[] = [];
    const callback = { id: 1, run: (runner: Cpu, head: number) => ran.push(runner, head) };
    const heads = [machine.frames.allocateSpan(cpu, 64), machine.frames.allocateSpan(cpu, 64)];
    for (const head of heads) outer.callRcu(head, callback);
    outer.rcuBarrier();
    expect(ran).toEqual([outer, heads[0], outer, heads[1]]);
  });
});

describe("traceTo", () => {
  it("turns tracing on and sends events with the processor's number, inner sink first", () => {
    const { machine } = oneCpu();
    const cpu = machine.attach();
    const seen: [string, number, TraceEvent][] = [];
    const inner = traceTo((id, event) => seen.push(["inner", id, event]))(cpu);
    const both = traceTo((id, event) => seen.push(["outer", id, event]))(withLockdep(new LockGraph())(inner));
    const event = { name: "kvm_age_hva", fields: { start: 0n, end: 4096n } };
    expect(both.tracing).toBe(true);
    both.trace(event);
    expect(seen).toEqual([
      ["inner", 1, event],
      ["outer", 1, event],
    ]);
    traceTo(() => seen.pop())(cpu).trace(event);
    expect(seen).toHaveLength(1);
  });
});
