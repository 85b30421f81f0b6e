import { memberRequestsWord } from "@kvm-age/machine";
import { isWritablePte, type Spte } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import type { KvmMmuPage } from "../../src/page/kvm-mmu-page.js";
import { handleShadowMmuRequests } from "../../src/root/handle-shadow-mmu-requests.js";
import { kvmMmuNewPgd } from "../../src/root/kvm-mmu-new-pgd.js";
import { isUnsyncRoot, kvmMmuSyncPrevRoots, kvmMmuSyncRoots } from "../../src/unsync/kvm-mmu-sync-roots.js";
import { kvmSyncPage } from "../../src/unsync/kvm-sync-page.js";
import { mmuSyncChildren } from "../../src/unsync/mmu-sync-children.js";
import { InvalidList } from "../../src/zap/invalid-list.js";
import { kvmMmuCommitZapPage } from "../../src/zap/kvm-mmu-commit-zap-page.js";
import { leafOf, shadowPath } from "../guest/kit/shadow-path.js";
import type { ShadowGuest } from "../kit/shadow-guest.js";
import {
  expectSound,
  getPage,
  isUnsync,
  LEAF,
  longModeGuest,
  unsync,
  unsyncChildren,
  WRITE,
} from "./kit/pages.js";

const TABLE_SPAN = 512 * 4096;

/** A guest whose first `count` tables of level 1 are shadowed and unsync; each maps one page. */
function unsyncGuest(count: number) {
  const { guest, tables, root } = longModeGuest();
  const address = (index: number): number => 0x400000 + index * TABLE_SPAN;
  for (let index = 0; index < count; index++) {
    tables.map(address(index), 300 + index, LEAF);
    guest.fault(address(index), WRITE);
  }
  for (let index = 0; index < count; index++) unsync(guest, tables.tableGfn(address(index), 1));
  return { guest, tables, root, address };
}

function sync(guest: ShadowGuest, cpu = guest.cpu): void {
  guest.inSrcu(() => kvmMmuSyncRoots(guest.mmu, cpu, guest.vcpu), cpu);
}

function syncChildren(guest: ShadowGuest, root: KvmMmuPage, canYield: boolean, cpu: RecordingCpu): number {
  return guest.underWriteLock(() => mmuSyncChildren(guest.mmu, cpu, guest.vcpu, root, canYield), cpu);
}

describe("kvm_mmu_sync_roots", () => {
  it("brings every unsync table in line, however many there are", () => {
    const { guest, tables, root, address } = unsyncGuest(40);
    for (let index = 0; index < 40; index += 2) tables.map(address(index), 900, LEAF);
    sync(guest);
    expect([guest.statistic("mmu_unsync"), unsyncChildren(guest, root)]).toEqual([0, 0]);
    const mapped = Array.from({ length: 40 }, (_, index) => leafOf(guest, address(index)) !== null);
    expect(mapped).toEqual(mapped.map((_, index) => index % 2 === 1));
    expect(guest.statistic("pages_4k")).toBe(20);
    expectSound(guest);
  });

  it("flushes once a round at most, after the last change", () => {
    const { guest, tables, address } = unsyncGuest(3);
    tables.map(address(1), 900, LEAF);
    const cpu = new RecordingCpu(guest.cpu);
    sync(guest, cpu);
    expect(cpu.only("smp_rmb", "write", "flush", "kvm_mmu_sync")).toEqual([
      "smp_rmb",
      "write_lock kvm->mmu_lock",
      "kvm_mmu_sync_page",
      "kvm_mmu_sync_page",
      "kvm_mmu_sync_page",
      "flush",
      "write_unlock kvm->mmu_lock",
    ]);
  });

  it("takes write access to the tables away and flushes, before it reads them", () => {
    const { guest, tables } = longModeGuest();
    tables.map(0x400000, 300, LEAF);
    guest.fault(0x400000, WRITE);
    const table = tables.tableGfn(0x400000, 1);
    tables.map(0x600000, table, LEAF);
    guest.fault(0x600000, WRITE);
    const sp = shadowPath(guest, 0x400000).at(-1)!.sp;
    expect([isUnsync(guest, sp), isWritablePte(leafOf(guest, 0x600000)!.spte)]).toEqual([true, true]);
    const cpu = new RecordingCpu(guest.cpu);
    sync(guest, cpu);
    expect(cpu.only("flush", "kvm_mmu_sync")).toEqual(["flush", "kvm_mmu_sync_page"]);
    expect([isUnsync(guest, sp), isWritablePte(leafOf(guest, 0x600000)!.spte as Spte)]).toEqual([
      false,
      false,
    ]);
    expectSound(guest);
    // The guest's next write to it is let through again, and the table is unsync again.
    guest.fault(0x600000, WRITE | 1);
    expect([isUnsync(guest, sp), isWritablePte(leafOf(guest, 0x600000)!.spte)]).toEqual([true, true]);
    expectSound(guest);
  });

  it("does not take mmu_lock if nothing is unsync", () => {
    const { guest } = longModeGuest();
    const cpu = new RecordingCpu(guest.cpu);
    sync(guest, cpu);
    expect(cpu.only("write")).toEqual([]);
  });

  it("gives way between rounds", () => {
    const { guest } = unsyncGuest(20);
    const cpu = new RecordingCpu(guest.cpu);
    cpu.needbreak = () => true;
    sync(guest, cpu);
    expect(
      cpu
        .only("cond", "kvm")
        .join(" ")
        .split("cond_resched")
        .map((part) => part.split("kvm_mmu_sync").length - 1),
    ).toEqual([13, 7, 0]);
    expect(guest.statistic("mmu_unsync")).toBe(0);
    expectSound(guest);
  });

  it("zaps a table that cannot be read", () => {
    const { guest, tables, address } = unsyncGuest(3);
    const table = tables.tableGfn(address(1), 1);
    guest.host.missing.add(table);
    const cpu = new RecordingCpu(guest.cpu);
    sync(guest, cpu);
    const zapped = cpu.events.filter(({ name }) => name === "kvm_mmu_prepare_zap_page");
    expect(zapped.map(({ fields }) => fields.gfn)).toEqual([table]);
    expect([leafOf(guest, address(0)) !== null, leafOf(guest, address(1))]).toEqual([true, null]);
    expectSound(guest);
  });

  it("is what a request asks for", () => {
    const { guest } = unsyncGuest(2);
    guest.inSrcu(() => handleShadowMmuRequests(guest.mmu, guest.cpu, guest.vcpu, 0));
    expect(guest.statistic("mmu_unsync")).toBe(2);
    guest.inSrcu(() => handleShadowMmuRequests(guest.mmu, guest.cpu, guest.vcpu, 4));
    expect(guest.statistic("mmu_unsync")).toBe(0);
  });
});

describe("mmu_sync_children without leave to yield", () => {
  it("stops when somebody waits, and asks to go on before the next entry", () => {
    const { guest, root } = unsyncGuest(20);
    const cpu = new RecordingCpu(guest.cpu);
    cpu.needbreak = () => true;
    expect(syncChildren(guest, root, false, cpu)).toBe(-4);
    expect([guest.statistic("mmu_unsync"), cpu.only("cond")]).toEqual([7, []]);
    expect(guest.cpu.readOnce32(memberRequestsWord(guest.flushDomain, 0)) & 4).toBe(4);
    expectSound(guest);
  });

  it("flushes what it has done before it stops", () => {
    const { guest, tables, root, address } = unsyncGuest(20);
    tables.map(address(0), 900, LEAF);
    const cpu = new RecordingCpu(guest.cpu);
    cpu.needbreak = () => true;
    syncChildren(guest, root, false, cpu);
    expect(cpu.only("flush")).toEqual(["flush"]);
  });

  it("finishes if nobody waits", () => {
    const { guest, root } = unsyncGuest(20);
    expect(syncChildren(guest, root, false, new RecordingCpu(guest.cpu))).toBe(0);
    expect(guest.statistic("mmu_unsync")).toBe(0);
  });

  it("asks for mmu_lock", () => {
    const { guest, root } = unsyncGuest(1);
    expect(() => mmuSyncChildren(guest.mmu, guest.cpu, guest.vcpu, root, true)).toThrow(
      /"kvm->mmu_lock" must be held for write/,
    );
  });
});

describe("kvm_sync_page", () => {
  const syncPage = (guest: ShadowGuest, sp: KvmMmuPage) =>
    guest.underWriteLock(() => {
      const list = new InvalidList();
      const result = kvmSyncPage(guest.mmu, guest.cpu, guest.vcpu, sp, list);
      const zapped = list.pages.length;
      kvmMmuCommitZapPage(guest.mmu, guest.cpu, list);
      return [result, zapped];
    });

  it("accepts pages that differ from the root in level and access only", () => {
    const { guest } = longModeGuest();
    const { accWriteMask } = guest.format.rules;
    expect(syncPage(guest, getPage(guest, 40, { level: 1, access: accWriteMask }))).toEqual([0, 0]);
    expect(syncPage(guest, getPage(guest, 41, { level: 1, eferNx: false }))).toEqual([-1, 1]);
    expect(syncPage(guest, getPage(guest, 42, { level: 1, cr0Wp: false }))).toEqual([-1, 1]);
    expect(syncPage(guest, getPage(guest, 43, { level: 1, guestMode: true }))).toEqual([-1, 1]);
    expect(syncPage(guest, getPage(guest, 44, { level: 1, direct: true }))).toEqual([-1, 1]);
    expectSound(guest);
  });

  it("reports a flush if an entry went or lost access", () => {
    const { guest, tables } = longModeGuest();
    for (const page of [0, 1, 2]) {
      tables.map(0x400000 + page * 4096, 300 + page, LEAF);
      guest.fault(0x400000 + page * 4096, WRITE);
    }
    const sp = shadowPath(guest, 0x400000).at(-1)!.sp;
    expect(syncPage(guest, sp)).toEqual([0, 0]);
    tables.map(0x401000, 0, 0n);
    expect(syncPage(guest, sp)).toEqual([1, 0]);
    tables.map(0x402000, 302, LEAF & ~2n);
    expect(syncPage(guest, sp)).toEqual([1, 0]);
    expect([leafOf(guest, 0x401000), isWritablePte(leafOf(guest, 0x402000)!.spte)]).toEqual([null, false]);
    expectSound(guest);
  });
});

describe("previous roots", () => {
  it("that are unsync are freed, not synchronised", () => {
    const { guest, tables, root } = unsyncGuest(1);
    const { mmu, cpu, vcpu } = guest;
    const context = vcpu.rootMmu;
    expect(isUnsyncRoot(mmu, cpu, context.rootHpa(cpu))).toBe(true);
    guest.inSrcu(() => kvmMmuNewPgd(mmu, cpu, vcpu, context, 200 * 4096));
    guest.reload();
    expect(cpu.readOnce32(context.previousRootHpaWord(0))).not.toBe(0);
    guest.inSrcu(() => kvmMmuSyncPrevRoots(mmu, cpu, vcpu));
    expect(cpu.readOnce32(context.previousRootHpaWord(0))).toBe(0);
    // It stays in the hash, unsync, and is synchronised when it is loaded again.
    expect([guest.statistic("mmu_unsync"), unsyncChildren(guest, root)]).toEqual([1, 1]);
    guest.inSrcu(() => kvmMmuNewPgd(mmu, cpu, vcpu, context, tables.rootGfn * 4096));
    expect(guest.reload()).toBe(root);
    expect(guest.statistic("mmu_unsync")).toBe(0);
    expectSound(guest);
  });

  it("that are not stay", () => {
    const { guest } = longModeGuest();
    const { mmu, cpu, vcpu } = guest;
    guest.inSrcu(() => kvmMmuNewPgd(mmu, cpu, vcpu, vcpu.rootMmu, 200 * 4096));
    guest.reload();
    guest.inSrcu(() => kvmMmuSyncPrevRoots(mmu, cpu, vcpu));
    expect(cpu.readOnce32(vcpu.rootMmu.previousRootHpaWord(0))).not.toBe(0);
    expect(isUnsyncRoot(mmu, cpu, mmu.zeroPage(cpu))).toBe(false);
  });
});
