import { IN_GUEST_MODE, memberCountWord, memberModeWord, OUTSIDE_GUEST_MODE, offset } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import { InterferenceMissingError, InterferingCpu, RecordingCpu } from "../src/index.js";
import { Rig } from "./rig.js";

describe("an interference", () => {
  it("comes before the step, on the processor below", () => {
    const { cpu, word } = new Rig();
    const recording = new RecordingCpu(cpu);
    const interfering = new InterferingCpu(recording, [
      { step: "cmpxchg", address: word, act: (other) => other.writeOnce(word, 5n) },
    ]);
    expect(interfering.cmpxchg(word, 0n, 1n, "full")).toBe(5n);
    expect(recording.stepsAt(word)).toEqual(["writeOnce", "cmpxchg"]);
    interfering.assertAllHappened();
  });

  it("waits for its address and its turn, and comes once", () => {
    const { cpu, word } = new Rig();
    const other = offset(word, 8);
    let before = 0;
    const act = () => {
      before = reads;
    };
    const interfering = new InterferingCpu(cpu, [{ step: "readOnce", address: word, nth: 3, act }]);
    let reads = 0;
    for (; reads < 10; reads++) {
      interfering.readOnce(other);
      interfering.loadAcquire(word);
      interfering.readOnce(word);
    }
    expect([before, interfering.happened]).toEqual([2, 1]);
  });

  it("without an address comes before any, and before steps that have none", () => {
    const { cpu, word } = new Rig();
    const seen: string[] = [];
    const interfering = new InterferingCpu(cpu, [
      { step: "readOnce", act: () => seen.push("read") },
      { step: "preemptDisable", act: () => seen.push("preempt") },
      { step: "preemptDisable", address: word, act: () => seen.push("never") },
    ]);
    interfering.preemptDisable();
    interfering.readOnce(word);
    expect(seen).toEqual(["preempt", "read"]);
  });

  it("that has not happened fails the test that asked for it", () => {
    const { cpu, word } = new Rig();
    const act = () => {};
    const interfering = new InterferingCpu(cpu, [
      { step: "readOnce", act },
      { step: "xchg", act },
    ]);
    interfering.readOnce(word);
    const check = () => interfering.assertAllHappened();
    expect(check).toThrow(InterferenceMissingError);
    expect(check).toThrow("1 of 2 interferences happened");
  });

  it("comes between the look and the write of one word of a run", () => {
    const { cpu, word } = new Rig();
    cpu.memset64(word, 3n, 4);
    const third = offset(word, 16);
    const act = () => cpu.writeOnce(third, 7n);
    const interfering = new InterferingCpu(cpu, [{ step: "cmpxchg", address: third, act }]);
    expect(interfering.clearBitsWhere(word, 4, 1n, 1n, 1n, "cmpxchg")).toBe(4);
    const words = [0, 8, 16, 24].map((bytes) => cpu.readOnce(offset(word, bytes)));
    expect(words).toEqual([2n, 2n, 7n, 2n]);
  });

  it("comes before a flush, and while one waits", () => {
    const { cpu, domain } = new Rig();
    const mode = memberModeWord(domain, 0);
    const seen: number[] = [];
    cpu.writeOnce32(memberCountWord(domain), 1);
    const interfering = new InterferingCpu(cpu, [
      { step: "flushRemoteTlbs", address: domain.address, act: () => cpu.writeOnce32(mode, IN_GUEST_MODE) },
      {
        step: "relax",
        act: () => {
          seen.push(cpu.readOnce32(mode));
          cpu.writeOnce32(mode, OUTSIDE_GUEST_MODE);
        },
      },
    ]);
    interfering.flushRemoteTlbs(domain);
    expect([interfering.happened, seen.length]).toEqual([2, 1]);
    expect(seen[0]).not.toBe(IN_GUEST_MODE);
  });
});
