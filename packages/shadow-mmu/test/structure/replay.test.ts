import type { Cpu } from "@kvm-age/machine";
import { ReplayingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmShadowMmuPageFault } from "../../src/fault/kvm-shadow-mmu-page-fault.js";
import { kvmShadowRecoverNxHugePages } from "../../src/huge/kvm-recover-nx-huge-pages.js";
import { SPTE_ENT_PER_PAGE, spGfn, spRole, unsyncChildrenWord } from "../../src/page/kvm-mmu-page.js";
import { kvmMmuFreeObsoleteRoots } from "../../src/root/kvm-mmu-free-obsolete-roots.js";
import { kvmMmuLoad } from "../../src/root/kvm-mmu-load.js";
import { kvmMmuNewPgd } from "../../src/root/kvm-mmu-new-pgd.js";
import { kvmMmuSyncRoots } from "../../src/unsync/kvm-mmu-sync-roots.js";
import { kvmMmuChangeMmuPages } from "../../src/zap/kvm-mmu-change-mmu-pages.js";
import { kvmShadowZapAllFast } from "../../src/zap/kvm-mmu-zap-all-fast.js";
import type { ShadowGuest } from "../kit/shadow-guest.js";
import {
  activePages,
  entry,
  expectSound,
  LEAF,
  type LongModeGuest,
  longModeGuest,
  nestedGuest,
  WRITE,
} from "./kit/pages.js";

type Operation = (guest: ShadowGuest, cpu: Cpu) => unknown;

const fault =
  (addr: number): Operation =>
  ({ mmu, vcpu }, cpu) =>
    kvmShadowMmuPageFault(mmu, cpu, vcpu, addr, BigInt(WRITE)).ret;

const newPgd =
  (pgd: number): Operation =>
  ({ mmu, vcpu }, cpu) =>
    kvmMmuNewPgd(mmu, cpu, vcpu, vcpu.current(cpu), pgd);

const load: Operation = ({ mmu, vcpu }, cpu) => kvmMmuLoad(mmu, cpu, vcpu);
const sync: Operation = ({ mmu, vcpu }, cpu) => kvmMmuSyncRoots(mmu, cpu, vcpu);
const freeObsolete: Operation = ({ mmu, vcpu }, cpu) => kvmMmuFreeObsoleteRoots(mmu, cpu, vcpu);
const quota: Operation = ({ mmu }, cpu) => kvmMmuChangeMmuPages(mmu, cpu, 4);
const recover: Operation = ({ mmu }, cpu) => kvmShadowRecoverNxHugePages(mmu, cpu);

/** Under `slots_lock`, and so outside SRCU. */
const zapAllFast: Operation = ({ mmu, memslots }, cpu) => {
  cpu.mutexLock(memslots.locks.slotsLock);
  kvmShadowZapAllFast(mmu, cpu);
  cpu.mutexUnlock(memslots.locks.slotsLock);
};

/** As a vCPU outside the guest does it. */
const inSrcu =
  (operation: Operation): Operation =>
  (guest, cpu) =>
    guest.inSrcu(() => operation(guest, cpu), cpu);

const OPERATIONS: readonly [string, Operation][] = [
  ["fault", inSrcu(fault(0x400000))],
  ["fault on its table", inSrcu(fault(0x401000))],
  ["fault far away", inSrcu(fault(0x4000_0000))],
  ["sync", inSrcu(sync)],
  ["fault on its table again", inSrcu(fault(0x401000))],
  ["new root", inSrcu(newPgd(0x20000))],
  ["load", inSrcu(load)],
  ["old root", inSrcu(newPgd(0x1000))],
  ["quota", inSrcu(quota)],
  ["zap all fast", zapAllFast],
  ["free obsolete roots", inSrcu(freeObsolete)],
  ["load again", inSrcu(load)],
  ["fault again", inSrcu(fault(0x400000))],
  ["NX recovery", recover],
];

/** Everything about the active pages. */
function state(guest: ShadowGuest) {
  return activePages(guest).map((sp) => ({
    sp,
    gfn: spGfn(guest.cpu, sp),
    role: spRole(guest.cpu, sp),
    unsyncChildren: guest.cpu.readOnce32(unsyncChildrenWord(sp)),
    entries: Array.from({ length: SPTE_ENT_PER_PAGE }, (_, index) => entry(guest, sp, index)),
  }));
}

function prepare({ guest, tables }: LongModeGuest): ShadowGuest {
  tables.map(0x400000, 200, LEAF);
  tables.map(0x401000, tables.tableGfn(0x400000, 1), LEAF);
  tables.map(0x4000_0000, 201, LEAF);
  return guest;
}

describe.each([
  ["shadow paging", longModeGuest],
  ["nested paging", nestedGuest],
])("operations under %s, suspended at every access and replayed", (_name, make) => {
  it("do what they do at one go", () => {
    const plain = prepare(make());
    const replayed = prepare(make());
    for (const [name, operation] of OPERATIONS) {
      const expected = operation(plain, plain.cpu);
      const cpu = new ReplayingCpu(replayed.cpu);
      const found = cpu.run((replaying) => operation(replayed, replaying));
      expect([name, found]).toEqual([name, expected]);
      expect(cpu.suspensions, name).toBeGreaterThan(0);
      expect(state(replayed), name).toEqual(state(plain));
    }
    expectSound(replayed);
  }, 120_000);
});
