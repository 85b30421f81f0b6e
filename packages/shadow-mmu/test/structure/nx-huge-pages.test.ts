import { KVM_MEM_LOG_DIRTY_PAGES } from "@kvm-age/memslot";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmShadowRecoverNxHugePages } from "../../src/huge/kvm-recover-nx-huge-pages.js";
import { accountNxHugePage, unaccountNxHugePage } from "../../src/huge/nx-huge-pages.js";
import type { KvmMmuPage } from "../../src/page/kvm-mmu-page.js";
import { HOST_BASE } from "../guest/kit/byte-host.js";
import type { ShadowGuest } from "../kit/shadow-guest.js";
import { activePages, expectSound, getPage, longModeGuest, zap } from "./kit/pages.js";

function listed(guest: ShadowGuest): KvmMmuPage[] {
  const { mmu, cpu } = guest;
  const pages: KvmMmuPage[] = [];
  let sp = mmu.possibleNxHugePages.first(cpu);
  for (; sp !== 0; sp = mmu.possibleNxHugePages.next(cpu, sp)) pages.push(sp);
  return pages;
}

function account(guest: ShadowGuest, sp: KvmMmuPage, possible = true): void {
  guest.underWriteLock(() => accountNxHugePage(guest.mmu, guest.cpu, sp, possible));
}

/** Direct tables as a fetch under the mitigation links them, `count` of them. */
function nxTables(guest: ShadowGuest, count: number): KvmMmuPage[] {
  return Array.from({ length: count }, (_, index) => {
    const sp = getPage(guest, 512 * (index + 1), { level: 1, direct: true });
    account(guest, sp);
    return sp;
  });
}

describe("the list of possible NX huge pages", () => {
  it("is in order of age, with each table once", () => {
    const { guest } = longModeGuest();
    const tables = nxTables(guest, 3);
    account(guest, tables[0]!);
    expect([listed(guest), guest.statistic("nx_lpage_splits")]).toEqual([tables, 3]);
    expectSound(guest);
  });

  it("has no table that something else keeps small, until it is linked where nothing does", () => {
    const { guest } = longModeGuest();
    const sp = getPage(guest, 512, { level: 1, direct: true });
    account(guest, sp, false);
    expect(listed(guest)).toEqual([]);
    account(guest, sp, true);
    expect(listed(guest)).toEqual([sp]);
  });

  it("loses a table that is unaccounted or zapped, wherever it is", () => {
    const { guest } = longModeGuest();
    const [first, second, third, fourth] = nxTables(guest, 4);
    guest.underWriteLock(() => unaccountNxHugePage(guest.mmu, guest.cpu, second!));
    expect(listed(guest)).toEqual([first, third, fourth]);
    zap(guest, first!);
    zap(guest, fourth!);
    expect([listed(guest), guest.statistic("nx_lpage_splits")]).toEqual([[third], 1]);
    expectSound(guest);
  });
});

describe("kvm_recover_nx_huge_pages", () => {
  it.each([
    [0, 7, 0],
    [60, 7, 1],
    [2, 7, 4],
    [1, 7, 7],
    [60, 0, 0],
  ])("with ratio %i zaps of %i tables %i, the oldest first", (ratio, count, zapped) => {
    const { guest } = longModeGuest({ options: { nxHugePages: true, nxHugePagesRecoveryRatio: ratio } });
    const tables = nxTables(guest, count);
    const cpu = new RecordingCpu(guest.cpu);
    expect(kvmShadowRecoverNxHugePages(guest.mmu, cpu)).toBe(zapped);
    expect(listed(guest)).toEqual(tables.slice(zapped));
    expect(cpu.only("flush")).toEqual(zapped === 0 ? [] : ["flush"]);
    expectSound(guest);
  });

  it("flushes and frees before it gives way", () => {
    const { guest } = longModeGuest({ options: { nxHugePages: true, nxHugePagesRecoveryRatio: 1 } });
    nxTables(guest, 3);
    const cpu = new RecordingCpu(guest.cpu);
    cpu.needbreak = () => true;
    expect(kvmShadowRecoverNxHugePages(guest.mmu, cpu)).toBe(3);
    expect(cpu.only("flush", "cond")).toEqual([
      "flush",
      "cond_resched",
      "flush",
      "cond_resched",
      "flush",
      "cond_resched",
    ]);
    expect(activePages(guest)).toHaveLength(1);
  });

  it("merely forgets tables of a dirty-logged slot", () => {
    const { guest } = longModeGuest({
      options: { nxHugePages: true, nxHugePagesRecoveryRatio: 1, eagerPageSplit: false },
    });
    nxTables(guest, 2);
    guest.setRegion(0, 0, 4096, HOST_BASE, KVM_MEM_LOG_DIRTY_PAGES);
    expect(kvmShadowRecoverNxHugePages(guest.mmu, guest.cpu)).toBe(0);
    expect([listed(guest), activePages(guest).length]).toEqual([[], 3]);
    expectSound(guest);
  });
});
