import { slotUserspaceAddr } from "@kvm-age/memslot";
import {
  type Gfn,
  isMmioSpte,
  isShadowPresentPte,
  isWritablePte,
  linux73,
  linux615,
  SHADOW_NONPRESENT_VALUE,
  spteToPfn,
} from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { kvmMmuPageGetAccess, kvmMmuPageGetGfn } from "../../src/page/translation.js";
import { syncSpte } from "../../src/unsync/sync-spte.js";
import { kvmInitShadowEptMmu } from "../../src/vcpu/kvm-init-shadow-ept-mmu.js";
import { ShadowGuest, type ShadowGuestInit } from "../kit/shadow-guest.js";
import { violations } from "./kit/check.js";
import { A, D, EPT_A, EPT_D, EPT_RWX, EPT_WB, EPT_X, GuestTables, NX, P, U, W } from "./kit/guest-tables.js";
import { longMode } from "./kit/registers.js";
import { lastStep } from "./kit/shadow-path.js";

const WRITE = 2;
const GVA = 0x40_0000;
const DATA = 300;
const LEAF = P | W | U | A | D;

/** A guest with one page mapped and faulted in, and the sync of its entry. */
function mapped(init: ShadowGuestInit = {}, errorCode = WRITE) {
  const guest = new ShadowGuest(init);
  const tables = new GuestTables(guest, 4, P | W | U | A);
  tables.map(GVA, DATA, LEAF);
  guest.load(longMode());
  guest.fault(GVA, errorCode);
  const gpte = tables.entry(GVA, 1);
  const sync = () => {
    const { mmu, cpu, vcpu } = guest;
    const { sp, index } = lastStep(guest, GVA);
    return guest.underWriteLock(() => syncSpte(mmu, cpu, vcpu, vcpu.current(cpu), sp, index));
  };
  const set = (value: bigint) => guest.poke(gpte, value);
  const frame = (gfn: number) => BigInt(gfn) << 12n;
  return { guest, gpte, sync, set, frame, step: () => lastStep(guest, GVA) };
}

/** Gfn and access that the shadow page has on record for the entry. */
function recorded({ guest, step }: ReturnType<typeof mapped>) {
  const { sp, index } = step();
  const { mmu, cpu } = guest;
  return { gfn: kvmMmuPageGetGfn(mmu, cpu, sp, index), access: kvmMmuPageGetAccess(mmu, cpu, sp, index) };
}

describe.each([linux73, linux615])("sync_spte, $name", (ruleSet) => {
  const init = { ruleSet };
  const { accReadMask, accWriteMask, accUserMask } = ruleSet;

  it("1: a guest entry that cannot be read means that the page must go", () => {
    const { guest, gpte, sync, step } = mapped(init);
    const before = step().spte;
    guest.host.missing.add(Math.floor(gpte / 4096));
    expect(sync()).toBe(-1);
    expect(step().spte).toBe(before);
  });

  it.each([
    ["not present", 0n],
    ["not accessed", P | W | U | D],
    ["with a reserved bit", LEAF | (1n << 46n)],
  ])("2: an entry that is %s drops the SPTE", (_name, flags) => {
    const { guest, sync, set, frame, step } = mapped(init);
    set(frame(DATA) | flags);
    expect(sync()).toBe(1);
    expect(isShadowPresentPte(step().spte)).toBe(false);
    expect(guest.statistic("pages_4k")).toBe(0);
    expect(violations(guest)).toEqual([]);
  });

  it("3: access is the table's and the entry's together, without WRITE if the entry is clean", () => {
    const subject = mapped(init);
    subject.set(subject.frame(DATA) | P | W | A | NX);
    expect(subject.sync()).toBe(1);
    expect(recorded(subject)).toEqual({ gfn: DATA, access: accReadMask });
    expect(isWritablePte(subject.step().spte)).toBe(false);
    expect(violations(subject.guest)).toEqual([]);
  });

  it("4: an MMIO entry keeps its page and takes the new access", () => {
    const { guest, sync, set, step } = mapped(init);
    set((0x9_0000n << 12n) | LEAF);
    sync();
    guest.fault(GVA, WRITE);
    const before = step().spte;
    expect(isMmioSpte(guest.format, before)).toBe(true);
    set((0x9_0000n << 12n) | P | A);
    expect(sync()).toBe(0);
    const after = step().spte;
    expect(isMmioSpte(guest.format, after)).toBe(true);
    expect(before ^ after).toBe(BigInt(accWriteMask | accUserMask));
    // Another page: the entry knows nothing.
    set((0x9_0001n << 12n) | LEAF);
    expect(sync()).toBe(0);
    expect(isMmioSpte(guest.format, step().spte)).toBe(false);
    expect(violations(guest)).toEqual([]);
  });

  it("4: an MMIO entry is given up where a slot has come to be, instead of being made believable", () => {
    const { guest, sync, set, step } = mapped(init);
    set((0x9_0000n << 12n) | LEAF);
    sync();
    guest.fault(GVA, WRITE);
    expect(isMmioSpte(guest.format, step().spte)).toBe(true);
    guest.setRegion(1, 0x9_0000, 16, slotUserspaceAddr(guest.cpu, guest.slot), 0);
    expect(sync()).toBe(0);
    expect(step().spte).toBe(SHADOW_NONPRESENT_VALUE);
    guest.fault(GVA, WRITE);
    expect(isShadowPresentPte(step().spte)).toBe(true);
    expect(violations(guest)).toEqual([]);
  });

  it("5: another page drops the SPTE", () => {
    const subject = mapped(init);
    subject.set(subject.frame(DATA + 1) | LEAF);
    expect(subject.sync()).toBe(1);
    expect(isShadowPresentPte(subject.step().spte)).toBe(false);
    expect(violations(subject.guest)).toEqual([]);
  });

  it("6: the same page and access change nothing", () => {
    const { guest, sync, set, frame, step } = mapped(init);
    // Aged in the meantime: a sync is no use.
    const before = step().spte & ~guest.format.shadowAccessedMask;
    guest.cpu.writeOnce(step().sptep, before);
    // Bits that are none of KVM's business.
    set(frame(DATA) | LEAF | (1n << 9n) | (1n << 52n));
    expect(sync()).toBe(0);
    expect(step().spte).toBe(before);
    expect(violations(guest)).toEqual([]);
  });

  it("7: less access is given at once, to an entry of the same page that counts as used", () => {
    const subject = mapped(init);
    const { guest, step, frame } = subject;
    const pfn = spteToPfn(guest.format, step().spte);
    subject.set(frame(DATA) | P | U | A | D);
    expect(subject.sync()).toBe(1);
    const { spte } = step();
    expect(isWritablePte(spte)).toBe(false);
    expect(spteToPfn(guest.format, spte)).toBe(pfn);
    expect(spte & guest.format.shadowAccessedMask).toBe(guest.format.shadowAccessedMask);
    expect(recorded(subject).access).toBe(ruleSet.accAll & ~accWriteMask);
    expect(violations(guest)).toEqual([]);
  });

  it("7: more access is given without a flush", () => {
    const subject = mapped(init, 0);
    subject.set(subject.frame(DATA) | P | A | D);
    subject.sync();
    subject.set(subject.frame(DATA) | LEAF);
    expect(subject.sync()).toBe(0);
    expect(recorded(subject)).toEqual({ gfn: DATA, access: ruleSet.accAll });
    expect(isWritablePte(subject.step().spte)).toBe(true);
    expect(violations(subject.guest)).toEqual([]);
  });

  it("7: not more than the host allows", () => {
    const guest = mapped(init, 0);
    guest.set(guest.frame(DATA) | P | A | D);
    guest.guest.host.writable = false;
    guest.sync();
    // Dropped and mapped again through a read-only host page.
    guest.set(0n);
    guest.sync();
    guest.set(guest.frame(DATA) | P | A | D);
    guest.guest.fault(GVA, 0);
    guest.set(guest.frame(DATA) | LEAF);
    guest.sync();
    expect(recorded(guest).access).toBe(ruleSet.accAll);
    expect(isWritablePte(guest.step().spte)).toBe(false);
  });

  it("7: a page that is a guest table itself stays write-protected", () => {
    const guest = new ShadowGuest(init);
    const tables = new GuestTables(guest, 4, P | W | U | A);
    tables.map(GVA, 1, P | U | A | D);
    guest.load(longMode());
    guest.fault(GVA, 0);
    guest.poke(tables.entry(GVA, 1), (1n << 12n) | LEAF);
    const { mmu, cpu, vcpu } = guest;
    const { sp, index } = lastStep(guest, GVA);
    expect(guest.underWriteLock(() => syncSpte(mmu, cpu, vcpu, vcpu.rootMmu, sp, index))).toBe(0);
    expect(isWritablePte(lastStep(guest, GVA).spte)).toBe(false);
    expect(violations(guest)).toEqual([]);
  });
});

describe("sync_spte for L1's EPT", () => {
  const nested = (eptp: number) => {
    const guest = new ShadowGuest({ mode: "ept" });
    const tables = new GuestTables(guest, 4, EPT_RWX | EPT_A);
    tables.map(GVA, DATA, EPT_RWX | EPT_WB | EPT_A | EPT_D);
    guest.inSrcu(() => kvmInitShadowEptMmu(guest.mmu, guest.cpu, guest.vcpu, { eptp, executeOnly: true }));
    guest.reload();
    guest.fault(GVA, WRITE);
    const { mmu, cpu, vcpu } = guest;
    const step = () => lastStep(guest, GVA);
    const sync = () =>
      guest.underWriteLock(() => syncSpte(mmu, cpu, vcpu, vcpu.guestMmu, step().sp, step().index));
    return { guest, step, sync, set: (value: bigint) => guest.poke(tables.entry(GVA, 1), value) };
  };
  const EPTP = 0x1000 + 6 + (3 << 3);
  const frame = BigInt(DATA) << 12n;

  it("without A and D bits a clean or unused entry is as good as any", () => {
    const { guest, step, sync, set } = nested(EPTP);
    const before = step().spte;
    set(frame | EPT_RWX | EPT_WB);
    expect(sync()).toBe(0);
    expect(step().spte).toBe(before);
    expect(violations(guest)).toEqual([]);
  });

  it("with them it is not", () => {
    const { step, sync, set } = nested(EPTP + (1 << 6));
    set(frame | EPT_RWX | EPT_WB | EPT_A);
    expect(sync()).toBe(1);
    expect(isWritablePte(step().spte)).toBe(false);
    set(frame | EPT_RWX | EPT_WB);
    expect(sync()).toBe(1);
    expect(isShadowPresentPte(step().spte)).toBe(false);
  });

  it("execute only is an access like others; none at all drops the entry", () => {
    const { guest, step, sync, set } = nested(EPTP);
    set(frame | EPT_X | EPT_WB);
    expect(sync()).toBe(1);
    expect(step().spte & 7n).toBe(4n);
    // Present by no bit: the guest's entry is not, and that is step 2.
    set(frame | EPT_WB);
    expect(sync()).toBe(1);
    expect(isShadowPresentPte(step().spte)).toBe(false);
    expect(violations(guest)).toEqual([]);
  });

  it("5: access that only the tables above forbid drops the entry", () => {
    const guest = new ShadowGuest({ mode: "ept" });
    const tables = new GuestTables(guest, 4, EPT_X | EPT_A);
    tables.map(GVA, DATA, EPT_X | EPT_WB | EPT_A | EPT_D);
    const init = { eptp: EPTP, executeOnly: true };
    guest.inSrcu(() => kvmInitShadowEptMmu(guest.mmu, guest.cpu, guest.vcpu, init));
    guest.reload();
    guest.fault(GVA, 16);
    guest.poke(tables.entry(GVA, 1), frame | 1n | EPT_WB);
    const { mmu, cpu, vcpu } = guest;
    const { sp, index } = lastStep(guest, GVA);
    expect(guest.underWriteLock(() => syncSpte(mmu, cpu, vcpu, vcpu.guestMmu, sp, index))).toBe(1);
    expect(isShadowPresentPte(lastStep(guest, GVA).spte)).toBe(false);
    expect(kvmMmuPageGetGfn(mmu, cpu, sp, index)).toBe(DATA as Gfn);
  });
});
