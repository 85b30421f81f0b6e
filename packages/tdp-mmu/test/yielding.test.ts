import type { Cpu } from "@kvm-age/machine";
import { RetPf } from "@kvm-age/page-fault";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import {
  KVM_VALID_ROOTS,
  kvmMmuUnload,
  kvmTdpMmuInvalidateRoots,
  kvmTdpMmuWrprotSlot,
  kvmTdpMmuZapAll,
  kvmTdpMmuZapInvalidatedRoots,
  TdpIter,
  tdpMmuIterCondResched,
} from "../src/index.js";
import { Guest } from "./kit/guest.js";
import { leaves, rootOf, tables, underReadLock, underWriteLock, unmap, WRITE } from "./kit/operations.js";

const LOCK = "kvm->mmu_lock";

function populated(): Guest {
  const guest = new Guest();
  for (const page of [0, 1, 2, 511, 512, 600, 1500]) guest.fault(page, true);
  return guest;
}

/** A processor that is always wanted. */
function contended(guest: Guest, onCondResched: (cpu: Cpu) => void = () => {}): RecordingCpu {
  const cpu = new RecordingCpu(guest.cpu);
  cpu.needbreak = () => true;
  cpu.onCondResched = onCondResched;
  return cpu;
}

/** The steps of the log without trace events. */
function steps(cpu: RecordingCpu): string[] {
  return cpu.log.filter((step) => !step.startsWith("kvm_"));
}

const YIELD = [
  "rcu_read_unlock",
  `write_unlock ${LOCK}`,
  "cond_resched",
  `write_lock ${LOCK}`,
  "rcu_read_lock",
];

describe("an unmap that may block, with somebody always waiting", () => {
  it("ends, with everything unmapped", () => {
    const guest = populated();
    const cpu = contended(guest);
    unmap(guest, 0, 2048, cpu, true);
    expect(leaves(guest)).toEqual([0, 0, 0]);
    expect(cpu.log.filter((step) => step === "cond_resched").length).toBeGreaterThan(7);
  });

  it("has flushed whatever it unmapped when it leaves RCU and the lock, and flushes no more often", () => {
    const guest = populated();
    const cpu = contended(guest);
    unmap(guest, 0, 2048, cpu, true);
    let pending = false;
    let flushed = 0;
    for (const [index, step] of cpu.log.entries()) {
      if (step === "kvm_tdp_mmu_spte_changed") pending = true;
      if (step === "rcu_read_unlock" && cpu.log[index + 2] === "cond_resched") expect(pending).toBe(false);
      if (step !== "flush") continue;
      expect(pending).toBe(true);
      pending = false;
      flushed++;
    }
    expect(flushed).toBeGreaterThan(3);
    expect(pending).toBe(false);
  });

  it("gives way in the right order", () => {
    const guest = populated();
    const cpu = contended(guest);
    unmap(guest, 0, 2048, cpu, true);
    const log = steps(cpu);
    for (const [index, step] of log.entries()) {
      if (step === "cond_resched") expect(log.slice(index - 2, index + 3)).toEqual(YIELD);
    }
  });

  it("never gives way if it may not block", () => {
    const guest = populated();
    const cpu = contended(guest);
    unmap(guest, 0, 2048, cpu, false);
    expect(cpu.log).not.toContain("cond_resched");
    expect(leaves(guest)).toEqual([0, 0, 0]);
  });

  it("finds the tree as others left it", () => {
    const guest = populated();
    let calls = 0;
    const cpu = contended(guest, (other) => {
      if (++calls !== 2) return;
      other.writeLock(guest.mmu.mmuLock);
      kvmTdpMmuZapAll(guest.mmu, other);
      other.writeUnlock(guest.mmu.mmuLock);
      expect(guest.faultWithCode(1500, WRITE, other)).toBe(RetPf.fixed);
    });
    unmap(guest, 0, 2048, cpu, true);
    expect(calls).toBeGreaterThan(2);
    expect(leaves(guest)).toEqual([0, 0, 0]);
    expect(tables(guest)).toBe(3);
  });
});

describe("forward progress", () => {
  it("a walk does not yield twice at one place", () => {
    const guest = populated();
    const cpu = contended(guest);
    const places: number[] = [];
    underReadLock(guest, cpu, () => {
      cpu.rcuReadLock();
      const iter = new TdpIter(guest.format);
      iter.start(cpu, rootOf(guest), 1, 0x40000 as never);
      for (; iter.valid && iter.gfn < 0x40000 + 2048; iter.next(cpu)) {
        if (tdpMmuIterCondResched(guest.mmu, cpu, iter, false, true)) places.push(iter.nextLastLevelGfn);
      }
      cpu.rcuReadUnlock();
    });
    expect(places.length).toBeGreaterThan(100);
    expect(new Set(places).size).toBe(places.length);
    expect(places).toEqual([...places].sort((left, right) => left - right));
  });

  it("nobody waits: no yield", () => {
    const guest = populated();
    const cpu = new RecordingCpu(guest.cpu);
    unmap(guest, 0, 2048, cpu, true);
    expect(cpu.log).not.toContain("cond_resched");
  });
});

it("write protection of a slot yields its read lock", () => {
  const guest = populated();
  const cpu = contended(guest);
  expect(underReadLock(guest, cpu, () => kvmTdpMmuWrprotSlot(guest.mmu, cpu, guest.slot, 1))).toBe(true);
  const log = steps(cpu);
  const at = log.indexOf("cond_resched");
  expect(log.slice(at - 2, at + 3)).toEqual([
    "rcu_read_unlock",
    `read_unlock ${LOCK}`,
    "cond_resched",
    `read_lock ${LOCK}`,
    "rcu_read_lock",
  ]);
  expect(log).not.toContain("flush");
  for (const page of [0, 1, 2, 511, 512, 600, 1500]) expect(guest.spte(page) & 2n).toBe(0n);
});

it("a root may lose its last other user while its zap gives way", () => {
  const guest = populated();
  underWriteLock(guest, guest.cpu, () => kvmTdpMmuInvalidateRoots(guest.mmu, guest.cpu, KVM_VALID_ROOTS));
  let dropped = false;
  const cpu = contended(guest, (other) => {
    if (!dropped) kvmMmuUnload(guest.mmu, other, guest.vcpu);
    dropped = true;
  });
  kvmTdpMmuZapInvalidatedRoots(guest.mmu, cpu, true);
  expect(dropped).toBe(true);
  expect(leaves(guest)).toEqual([0, 0, 0]);
  expect(tables(guest)).toBe(0);
  expect(guest.cpu.readOnce32(guest.mmu.rootsWord)).toBe(0);
  expect(cpu.log).not.toContain("flush");
});
