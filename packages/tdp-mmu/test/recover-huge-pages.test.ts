import { kvmMmuGfnDisallowLpage } from "@kvm-age/memslot";
import type { Gfn, PgLevel } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmTdpMmuRecoverHugePages } from "../src/index.js";
import { Guest, type GuestInit, SLOT_GFN } from "./kit/guest.js";
import { leaves, sptepAt, tables, underReadLock, underWriteLock, unmap, WRITE } from "./kit/operations.js";
import { FORMATS, ofPage } from "./kit/reference-values.js";

const ONE_GIB = 262144;

function recover(guest: Guest, cpu = guest.cpu): void {
  underReadLock(guest, cpu, () => kvmTdpMmuRecoverHugePages(guest.mmu, cpu, guest.host, guest.slot));
}

/** Pages mapped 4K in a guest whose host could have done better. */
function small(pages: readonly number[], level: PgLevel, init: GuestInit = {}): Guest {
  const guest = new Guest(init);
  for (const page of pages) guest.fault(page, true);
  guest.host.level = level;
  return guest;
}

describe.each(FORMATS)("recovering huge pages, $name", (reference) => {
  it("replaces a table by a leaf built from any of its pages", () => {
    const guest = small([700, 701, 900], 2, reference.init);
    recover(guest);
    expect(guest.entry(512)).toMatchObject({ level: 2, spte: ofPage(reference.huge, 512) });
    expect(leaves(guest)).toEqual([0, 1, 0]);
    expect(tables(guest)).toBe(2);
  });

  it("happens when the log is switched off, and flushes the slot before RCU is left", () => {
    const guest = new Guest(reference.init);
    guest.host.level = 2;
    guest.fault(700, true);
    guest.setSlot(1);
    expect(guest.entry(700).level).toBe(1);
    const cpu = new RecordingCpu(guest.cpu);
    recover(guest, cpu);
    expect(guest.entry(700).level).toBe(1);
    guest.setSlot(0);
    expect(guest.entry(700).level).toBe(2);
  });
});

it("flushes the slot's range once, before it leaves RCU", () => {
  const guest = small([3, 700], 2);
  const cpu = new RecordingCpu(guest.cpu);
  recover(guest, cpu);
  const at = cpu.log.indexOf("flush 0x40000+2048");
  expect(cpu.log.filter((step) => step.startsWith("flush"))).toEqual(["flush 0x40000+2048"]);
  expect(cpu.log.slice(at + 1)[0]).toBe("rcu_read_unlock");
  expect(cpu.log.slice(at).filter((step) => step === "call_rcu")).toEqual([]);
});

describe("what is not recovered", () => {
  it("anything, while the slot is logged", () => {
    const guest = small([700], 2, { slotFlags: 1 });
    recover(guest);
    expect(guest.entry(700).level).toBe(1);
  });

  it("what the host maps smaller", () => {
    const guest = small([700], 1);
    recover(guest);
    expect(guest.entry(700).level).toBe(1);
  });

  it("what the slot disallows", () => {
    const guest = small([3, 700], 2);
    underWriteLock(guest, guest.cpu, () =>
      kvmMmuGfnDisallowLpage(guest.cpu, guest.slot, (SLOT_GFN + 600) as Gfn),
    );
    recover(guest);
    expect([guest.entry(3).level, guest.entry(700).level]).toEqual([2, 1]);
  });

  it("a table without a leaf", () => {
    const guest = small([700], 2);
    unmap(guest, 512, 1024);
    const cpu = new RecordingCpu(guest.cpu);
    recover(guest, cpu);
    expect(tables(guest)).toBe(3);
    expect(cpu.log.filter((step) => step.startsWith("flush"))).toEqual([]);
  });

  it("a range that begins before the slot", () => {
    const guest = new Guest();
    const hva = (0x7f0000000000 + 0x40100 * 4096) as never;
    guest.setRegion({ slot: 1, gfn: 0x80100, pages: 1024, hva, flags: 0 });
    const page = 0x80180 - SLOT_GFN;
    guest.fault(page, true);
    guest.host.level = 2;
    const slot = guest.memslots.gfnToMemslot(guest.cpu, 0, 0x80180 as Gfn);
    underReadLock(guest, guest.cpu, () => kvmTdpMmuRecoverHugePages(guest.mmu, guest.cpu, guest.host, slot));
    expect(guest.entry(page).level).toBe(1);
  });
});

describe("1G", () => {
  it("is recovered at once from small pages", () => {
    const guest = small([5, 100_000], 3, { slotPages: ONE_GIB });
    recover(guest);
    expect(guest.entry(0)).toMatchObject({ level: 3, spte: ofPage(FORMATS[0]!.huge, 0) });
    expect(leaves(guest)).toEqual([0, 0, 1]);
    expect(tables(guest)).toBe(1);
  });

  it("is recovered from a leaf that comes after an empty table", () => {
    const guest = small([5, 100_000], 3, { slotPages: ONE_GIB });
    unmap(guest, 0, 512);
    expect(tables(guest)).toBe(4);
    recover(guest);
    expect(guest.entry(0)).toMatchObject({ level: 3, spte: ofPage(FORMATS[0]!.huge, 0) });
  });
});

describe("contention", () => {
  it("breaks the search off, gives way after a flush, and recovers everything in the end", () => {
    const guest = small([511, 1023, 1535, 2047], 2);
    const cpu = new RecordingCpu(guest.cpu);
    cpu.needbreak = () => true;
    recover(guest, cpu);
    expect([0, 600, 1100, 1600].map((page) => guest.entry(page).level)).toEqual([2, 2, 2, 2]);
    expect(cpu.log).toContain("cond_resched");
    let pending = false;
    for (const step of cpu.log) {
      if (step === "call_rcu") pending = true;
      if (step.startsWith("flush")) pending = false;
      if (step === "rcu_read_unlock" || step.startsWith("read_unlock")) expect(pending).toBe(false);
    }
  });

  it.each([1, 2, 3, 4, 5, 7, 11, 600])(
    "from a waiter at every %ith check: no table is passed over",
    (period) => {
      const guest = small([511, 1023, 1535, 2047], 2);
      const cpu = new RecordingCpu(guest.cpu);
      // Whoever waits goes on waiting until the lock is given away.
      let checks = 0;
      let waiting = false;
      cpu.needbreak = () => {
        waiting ||= ++checks % period === 0;
        return waiting;
      };
      cpu.onCondResched = () => {
        waiting = false;
      };
      recover(guest, cpu);
      expect(leaves(guest)).toEqual([0, 4, 0]);
    },
  );

  it("a lost exchange looks at the entry again", () => {
    const guest = small([3], 2);
    const address = sptepAt(guest, 3, 2);
    const act = (): void => void guest.faultWithCode(100, WRITE);
    const cpu = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address, act }]);
    recover(guest, cpu);
    expect(cpu.happened).toBe(1);
    expect(guest.entry(3).level).toBe(2);
    expect(leaves(guest)).toEqual([0, 1, 0]);
  });
});
