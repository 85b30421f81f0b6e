import { RetPf } from "@kvm-age/page-fault";
import { linux73, PFERR_FETCH_MASK } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { type KvmMmuPage, kvmRecoverNxHugePages, kvmTdpMmuZapSp, RootStateError } from "../src/index.js";
import { Guest, type GuestInit } from "./kit/guest.js";
import {
  entriesOf,
  leaves,
  PRESENT,
  READ,
  rootOf,
  sptepAt,
  tableOf,
  tables,
  trackWrites,
  underReadLock,
  underWriteLock,
  type unmap,
  WRITE,
} from "./kit/operations.js";
import { FORMATS, ofPage, RULE_SETS } from "./kit/reference-values.js";

const FETCH = PFERR_FETCH_MASK;
const NOT_PRESENT = 0x8000000000000000n;
const MITIGATED: GuestInit["options"] = { nxHugePages: true };

/** Huge leaves as the kernel makes them under the mitigation, for pfn 0x40000. */
const NX_HUGE = new Map([
  ["7.3 EPT", 0x80a0000040000bf3n],
  ["7.3 EPT without A/D bits", 0x90a0000040000bf3n],
  ["7.3 NPT", 0x8000000040000ee7n],
  ["6.15 EPT", 0x8600000040000bf3n],
  ["6.15 EPT without A/D bits", 0x8610000040000bf3n],
  ["6.15 NPT", 0x8000000040000ee7n],
]);

function listLength(guest: Guest): number {
  return guest.cpu.readOnce32(guest.mmu.possibleNxCountWord);
}

function splits(guest: Guest): number {
  return guest.mmu.statistics.read(guest.cpu).nx_lpage_splits;
}

/** A guest that fetched from the given pages of a huge host mapping. */
function fetched(pages: readonly number[], init: GuestInit = {}): Guest {
  const guest = new Guest({ ...init, options: { ...MITIGATED, ...init.options } });
  guest.host.level = 2;
  for (const page of pages) expect(guest.faultWithCode(page, FETCH)).toBe(RetPf.fixed);
  return guest;
}

function child(guest: Guest, page: number): KvmMmuPage {
  return guest.mmu.frames.readPrivate(guest.cpu, tableOf(sptepAt(guest, page, 1))) as KvmMmuPage;
}

describe.each(FORMATS)("with the mitigation, $name", (reference) => {
  it("a huge page is mapped without execution", () => {
    const guest = new Guest({ ...reference.init, options: MITIGATED! });
    guest.host.level = 2;
    expect(guest.faultWithCode(700, READ)).toBe(RetPf.fixed);
    expect(guest.entry(700)).toMatchObject({ level: 2, spte: ofPage(NX_HUGE.get(reference.name)!, 512) });
    expect(listLength(guest)).toBe(0);
  });

  it("a fetch maps 4K, executable, in a table that is put on the list", () => {
    const guest = fetched([700], reference.init);
    expect(guest.entry(700)).toMatchObject({ level: 1, spte: ofPage(reference.demand, 700) });
    expect([listLength(guest), splits(guest)]).toEqual([1, 1]);
  });

  it("a fetch from a huge page splits it into executable pages", () => {
    const guest = new Guest({ ...reference.init, options: MITIGATED! });
    guest.host.level = 2;
    guest.faultWithCode(700, WRITE);
    // The split itself makes the page executable, so that nothing is left to do for it.
    expect(guest.faultWithCode(701, PRESENT | FETCH)).toBe(RetPf.spurious);
    const entries = entriesOf(guest, tableOf(sptepAt(guest, 700, 1)));
    expect(entries).toEqual(entries.map((_, index) => ofPage(reference.demand, 512 + index)));
    expect([listLength(guest), splits(guest)]).toEqual([1, 1]);
  });

  it("a read beside a fetched page stays small, with its own frame", () => {
    const guest = fetched([700], reference.init);
    expect(guest.faultWithCode(800, READ)).toBe(RetPf.fixed);
    expect(guest.entry(800)).toMatchObject({ level: 1, spte: ofPage(reference.demand, 800) });
    expect(listLength(guest)).toBe(1);
  });
});

describe("the list", () => {
  it("does not take tables that could not be huge anyway", () => {
    const guest = new Guest({ options: MITIGATED! });
    trackWrites(guest, 600);
    guest.host.level = 2;
    guest.faultWithCode(700, FETCH);
    guest.host.level = 1;
    guest.faultWithCode(1100, FETCH);
    expect(tables(guest)).toBe(4);
    expect(listLength(guest)).toBe(0);
  });

  it("takes the 2M table and the 1G table under a 1G host page", () => {
    const guest = new Guest({ slotPages: 262144, options: MITIGATED! });
    guest.host.level = 3;
    guest.faultWithCode(700, FETCH);
    expect([listLength(guest), splits(guest)]).toEqual([2, 2]);
  });

  it("loses a table that is torn down", () => {
    const guest = fetched([100, 700, 1100]);
    expect(listLength(guest)).toBe(3);
    guest.deleteSlot();
    expect([listLength(guest), splits(guest)]).toEqual([0, 0]);
    expect(guest.cpu.readOnce32(guest.mmu.possibleNxHugePagesWord)).toBe(0);
  });

  it("keeps the others in order when one in the middle goes", () => {
    const guest = fetched([100, 700, 1100], { options: { nxHugePagesRecoveryRatio: 1 } });
    const middle = child(guest, 700);
    const held = guest.format.rules.tdpZapSp === "read-lock" ? underReadLock : underWriteLock;
    held(guest, guest.cpu, () => {
      guest.cpu.rcuReadLock();
      expect(kvmTdpMmuZapSp(guest.mmu, guest.cpu, middle)).toBe(true);
      guest.cpu.rcuReadUnlock();
    });
    expect(listLength(guest)).toBe(2);
    expect(kvmRecoverNxHugePages(guest.mmu, guest.cpu)).toBe(2);
    expect(listLength(guest)).toBe(0);
    expect(tables(guest)).toBe(2);
  });
});

describe.each(RULE_SETS)("the recovery worker, %s", (_name, ruleSet) => {
  const mode = ruleSet === linux73 ? "read" : "write";

  it("removes tables so that the next fault maps huge again", () => {
    const guest = fetched([700], { ruleSet, options: { nxHugePagesRecoveryRatio: 1 } });
    expect(kvmRecoverNxHugePages(guest.mmu, guest.cpu)).toBe(1);
    expect(leaves(guest)).toEqual([0, 0, 0]);
    expect([listLength(guest), splits(guest), tables(guest)]).toEqual([0, 0, 2]);
    guest.faultWithCode(700, READ);
    expect(guest.entry(700).level).toBe(2);
  });

  it.each([
    [1, 4],
    [2, 2],
    [3, 2],
    [60, 1],
    [0, 0],
  ])("with ratio %i removes %i of four", (nxHugePagesRecoveryRatio, removed) => {
    const guest = fetched([100, 700, 1100, 1600], { ruleSet, options: { nxHugePagesRecoveryRatio } });
    expect(kvmRecoverNxHugePages(guest.mmu, guest.cpu)).toBe(removed);
    expect(listLength(guest)).toBe(4 - removed);
  });

  it(`holds mmu_lock for ${mode} and flushes before it leaves RCU`, () => {
    const guest = fetched([700], { ruleSet });
    const cpu = new RecordingCpu(guest.cpu);
    kvmRecoverNxHugePages(guest.mmu, cpu);
    const steps = cpu.log.filter((step) => !step.startsWith("kvm_") && !step.startsWith("spin_"));
    expect(steps).toEqual([
      "srcu_read_lock kvm->srcu",
      `${mode}_lock kvm->mmu_lock`,
      "rcu_read_lock",
      "call_rcu",
      "flush",
      "rcu_read_unlock",
      `${mode}_unlock kvm->mmu_lock`,
      "srcu_read_unlock kvm->srcu",
    ]);
  });

  it("does not flush if there was nothing", () => {
    const guest = new Guest({ ruleSet, options: MITIGATED! });
    const cpu = new RecordingCpu(guest.cpu);
    expect(kvmRecoverNxHugePages(guest.mmu, cpu)).toBe(0);
    expect(cpu.log).not.toContain("flush");
  });

  it("gives way between tables, after a flush", () => {
    const guest = fetched([100, 700, 1100], { ruleSet, options: { nxHugePagesRecoveryRatio: 1 } });
    const cpu = new RecordingCpu(guest.cpu);
    cpu.needbreak = () => true;
    expect(kvmRecoverNxHugePages(guest.mmu, cpu)).toBe(3);
    const steps = cpu.log.filter((step) => !step.startsWith("kvm_") && !step.startsWith("spin_"));
    const one = ["call_rcu", "flush", "rcu_read_unlock", `${mode}_unlock kvm->mmu_lock`, "cond_resched"];
    const again = [`${mode}_lock kvm->mmu_lock`, "rcu_read_lock"];
    expect(steps.slice(3, 10)).toEqual([...one, ...again]);
  });

  it("merely forgets a table whose slot is dirty-logged", () => {
    const guest = fetched([700], { ruleSet });
    guest.setSlot(1);
    expect(kvmRecoverNxHugePages(guest.mmu, guest.cpu)).toBe(0);
    expect([listLength(guest), splits(guest), tables(guest)]).toEqual([0, 0, 3]);
  });

  it("tears the table down: present entries become frozen, empty ones as the mode says", () => {
    const guest = fetched([700], { ruleSet });
    const table = tableOf(sptepAt(guest, 700, 1));
    kvmRecoverNxHugePages(guest.mmu, guest.cpu);
    const empty = mode === "read" ? guest.format.frozenSpte : NOT_PRESENT;
    const expected = Array.from({ length: 512 }, (_, index) =>
      index === 700 - 512 ? guest.format.frozenSpte : empty,
    );
    expect(entriesOf(guest, table)).toEqual(expected);
  });
});

describe("zapping one table", () => {
  it("of a root is a bug", () => {
    const guest = new Guest();
    expect(() => kvmTdpMmuZapSp(guest.mmu, guest.cpu, rootOf(guest))).toThrow(RootStateError);
  });

  it("that the entry no longer points to does nothing (7.3)", () => {
    const guest = fetched([700]);
    const sp = child(guest, 700);
    const parent = sptepAt(guest, 700, 2);
    guest.cpu.rcuReadLock();
    guest.cpu.writeOnce(parent, NOT_PRESENT);
    const zap = (): boolean =>
      underReadLock(guest, guest.cpu, () => kvmTdpMmuZapSp(guest.mmu, guest.cpu, sp));
    expect(zap()).toBe(false);
    guest.cpu.rcuReadUnlock();
    expect(guest.cpu.readOnce(parent)).toBe(NOT_PRESENT);
  });

  it("in whose place another table is by now does nothing (7.3)", () => {
    const guest = fetched([700, 1100]);
    const sp = child(guest, 700);
    const [parent, other] = [sptepAt(guest, 700, 2), sptepAt(guest, 1100, 2)];
    const table = guest.cpu.readOnce(other);
    guest.cpu.writeOnce(parent, table);
    const zap = (): boolean => kvmTdpMmuZapSp(guest.mmu, guest.cpu, sp);
    expect(underReadLock(guest, guest.cpu, zap)).toBe(false);
    expect(guest.cpu.readOnce(parent)).toBe(table);
    expect(tables(guest)).toBe(4);
  });

  it("that another thread removes first does nothing (7.3)", () => {
    const guest = fetched([700]);
    const sp = child(guest, 700);
    const address = sptepAt(guest, 700, 2);
    const act = (cpu: Parameters<typeof unmap>[3]): void => cpu!.writeOnce(address, guest.format.frozenSpte);
    const cpu = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address, act }]);
    expect(underReadLock(guest, cpu, () => kvmTdpMmuZapSp(guest.mmu, cpu, sp))).toBe(false);
    expect(cpu.happened).toBe(1);
    expect(tables(guest)).toBe(3);
  });
});
