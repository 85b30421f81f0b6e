import { RetPf } from "@kvm-age/page-fault";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { Guest } from "./kit/guest.js";
import { dirtyBit, entriesOf, leaves, PRESENT, sptepAt, tableOf, tables, WRITE } from "./kit/operations.js";
import { EVERY_FORMAT, FORMATS, ofPage, RULE_SETS, withPfn } from "./kit/reference-values.js";

describe.each(RULE_SETS)("a huge page over a table, %s", (name, ruleSet) => {
  const reference = EVERY_FORMAT.find((format) => format.ruleSet === ruleSet)!;

  function replace(): { guest: Guest; cpu: RecordingCpu; table: ReturnType<typeof tableOf> } {
    const guest = new Guest({ ruleSet });
    for (const page of [512, 513, 700]) guest.fault(page, true);
    const table = tableOf(sptepAt(guest, 512, 1));
    guest.host.level = 2;
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(800, WRITE, cpu)).toBe(RetPf.fixed);
    return { guest, cpu, table };
  }

  it("installs the leaf and forgets the table and what it mapped", () => {
    const { guest } = replace();
    expect(guest.entry(600)).toMatchObject({ level: 2, spte: ofPage(reference.huge, 512) });
    expect(leaves(guest)).toEqual([0, 1, 0]);
    expect(tables(guest)).toBe(2);
  });

  it("freezes every entry of the dead table, present or not", () => {
    const { guest, table } = replace();
    expect(entriesOf(guest, table)).toEqual(Array(512).fill(reference.frozen));
  });

  it("flushes that range before RCU is left", () => {
    const { cpu } = replace();
    const flush = cpu.log.indexOf("flush 0x40200+512");
    expect(flush).toBeGreaterThan(cpu.log.indexOf("call_rcu"));
    expect(cpu.log.indexOf("rcu_read_unlock", flush)).toBeGreaterThan(flush);
    expect(cpu.log.slice(flush).filter((step) => step === "rcu_read_lock")).toEqual([]);
  });

  it("tells of the table and of the entry above it in the order of the rule set", () => {
    const { cpu } = replace();
    const story = cpu.events
      .filter(({ name: event }) => event !== "kvm_mmu_spte_requested" && event !== "kvm_mmu_set_spte")
      .map(({ name: event, fields }) => `${event} ${fields.level}`);
    const teardown = ["kvm_mmu_prepare_zap_page 1", ...Array(512).fill("kvm_tdp_mmu_spte_changed 1")];
    const parent = "kvm_tdp_mmu_spte_changed 2";
    expect(story).toEqual(name === "linux-7.3" ? [...teardown, parent] : [parent, ...teardown]);
  });

  it("frees the dead table after the grace period", () => {
    const { guest } = replace();
    const before = guest.machine.frames.allocatedFrames(guest.cpu);
    guest.cpu.rcuBarrier();
    expect(guest.machine.frames.allocatedFrames(guest.cpu)).toBe(before - 1);
  });
});

describe.each(FORMATS)("a 4K fault under a huge page, $name", (reference) => {
  function split(): { guest: Guest; cpu: RecordingCpu } {
    const guest = new Guest({ ...reference.init, options: { eagerPageSplit: false } });
    guest.host.level = 2;
    guest.fault(700, true);
    guest.setSlot(1);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(700, PRESENT | WRITE, cpu)).toBe(RetPf.fixed);
    return { guest, cpu };
  }

  it("splits it into 512 leaves that translate the same, of which one becomes writable", () => {
    const { guest } = split();
    const sptep = sptepAt(guest, 512, 1);
    const expected = Array.from({ length: 512 }, (_, index) => {
      const writable = index === 700 - 512;
      return withPfn(writable ? reference.demand : reference.logged, 0x200200 + index);
    });
    expect(entriesOf(guest, tableOf(sptep))).toEqual(expected);
    expect(leaves(guest)).toEqual([512, 0, 0]);
    expect(tables(guest)).toBe(3);
  });

  it("marks that one page dirty", () => {
    const { guest } = split();
    expect([699, 700, 701].map((page) => dirtyBit(guest, page))).toEqual([false, true, false]);
  });

  it("needs no flush and emits one split event without error", () => {
    const { cpu } = split();
    expect(cpu.log.filter((step) => step.startsWith("flush"))).toEqual([]);
    const events = cpu.events.filter(({ name }) => name === "kvm_mmu_split_huge_page");
    expect(events.map(({ fields }) => [fields.gfn, fields.level, fields.errno])).toEqual([[0x40200, 2, 0]]);
  });
});

describe.each(RULE_SETS)("a prefetch over a table, %s", (name, ruleSet) => {
  it("is spurious in 6.15; in 7.3 it installs the huge page", () => {
    const guest = new Guest({ ruleSet });
    guest.fault(512, true);
    guest.host.level = 2;
    const result = guest.faultWithCode(600, 0, guest.cpu, true);
    const spurious = name === "linux-6.15";
    expect(result).toBe(spurious ? RetPf.spurious : RetPf.fixed);
    expect(guest.entry(512).level).toBe(spurious ? 1 : 2);
  });
});
