import { type Address, ForwardingCpu } from "@kvm-age/machine";
import { isMmioSpte, isShadowPresentPte, isWritablePte, linux73, linux615, spteToPfn } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { kvmMmuInvalidateAddr, kvmMmuInvlpg } from "../../src/guest-walk/kvm-mmu-invlpg.js";
import { unsyncWord } from "../../src/page/kvm-mmu-page.js";
import { KVM_MMU_ROOT_CURRENT, kvmMmuRootPrevious } from "../../src/root/kvm-mmu-free-roots.js";
import { kvmSetCr3 } from "../../src/vcpu/kvm-set-cr3.js";
import { ShadowGuest } from "../kit/shadow-guest.js";
import { violations } from "./kit/check.js";
import { A, D, GuestTables, P, U, W } from "./kit/guest-tables.js";
import { longMode } from "./kit/registers.js";
import { lastStep } from "./kit/shadow-path.js";

const WRITE = 2;
/** Two pages of data, and beside them, under another table, the table that maps them. */
const GVA = 0x40_0000;
const TABLE_GVA = 0x80_0000;
const DATA = 300;
const LEAF = P | W | U | A | D;

/** A guest that can write the table of `GVA`, which is unsync therefore. */
function editor(ruleSet = linux73) {
  const guest = new ShadowGuest({ ruleSet });
  const tables = new GuestTables(guest, 4, P | W | U | A);
  tables.map(GVA, DATA, LEAF);
  tables.map(GVA + 0x1000, DATA + 1, LEAF);
  tables.map(TABLE_GVA, tables.tableGfn(GVA, 1), LEAF);
  guest.load(longMode());
  for (const gva of [GVA, GVA + 0x1000, TABLE_GVA]) guest.fault(gva, WRITE);
  const gpte = (gva: number) => tables.entry(gva, 1);
  const invlpg = (gva: number) => guest.inSrcu(() => kvmMmuInvlpg(guest.mmu, guest.cpu, guest.vcpu, gva));
  return { guest, tables, gpte, invlpg };
}

describe.each([linux73, linux615])("INVLPG, $name", (ruleSet) => {
  it("a table that the guest may write is unsync; until then nothing follows", () => {
    const { guest, gpte } = editor(ruleSet);
    const { sp, spte } = lastStep(guest, GVA);
    expect(guest.cpu.readOnce32(unsyncWord(sp))).toBe(1);
    expect(isWritablePte(lastStep(guest, TABLE_GVA).spte)).toBe(true);
    guest.poke(gpte(GVA), 0n);
    expect(lastStep(guest, GVA).spte).toBe(spte);
    expect(violations(guest)).toEqual([]);
  });

  it("the entry of the address follows, its neighbour does not, the table stays unsync", () => {
    const { guest, gpte, invlpg } = editor(ruleSet);
    const neighbour = lastStep(guest, GVA + 0x1000).spte;
    guest.poke(gpte(GVA), 0n);
    guest.poke(gpte(GVA + 0x1000), 0n);
    invlpg(GVA);
    expect(isShadowPresentPte(lastStep(guest, GVA).spte)).toBe(false);
    expect(lastStep(guest, GVA + 0x1000).spte).toBe(neighbour);
    expect(guest.cpu.readOnce32(unsyncWord(lastStep(guest, GVA).sp))).toBe(1);
    expect(violations(guest)).toEqual([]);
  });

  it("less access takes effect; another page is mapped by the next fault", () => {
    const { guest, gpte, invlpg } = editor(ruleSet);
    guest.poke(gpte(GVA), (BigInt(DATA) << 12n) | P | U | A | D);
    invlpg(GVA);
    expect(isWritablePte(lastStep(guest, GVA).spte)).toBe(false);
    guest.poke(gpte(GVA), (BigInt(DATA + 7) << 12n) | LEAF);
    invlpg(GVA);
    expect(isShadowPresentPte(lastStep(guest, GVA).spte)).toBe(false);
    guest.fault(GVA, WRITE);
    expect(spteToPfn(guest.format, lastStep(guest, GVA).spte)).toBe(guest.host.pfnOf(DATA + 7));
    expect(violations(guest)).toEqual([]);
  });

  it("a table that cannot be read any more: the entry is zapped", () => {
    const { guest, gpte, invlpg } = editor(ruleSet);
    guest.host.missing.add(Math.floor(gpte(GVA) / 4096));
    invlpg(GVA);
    expect(isShadowPresentPte(lastStep(guest, GVA).spte)).toBe(false);
    guest.host.missing.clear();
    expect(violations(guest)).toEqual([]);
  });

  it("flushes when the guest lost something, and only then", () => {
    const flushes: unknown[] = [];
    const { guest, gpte, invlpg } = editor(ruleSet);
    const original = guest.cpu.flushRemoteTlbs.bind(guest.cpu);
    guest.cpu.flushRemoteTlbs = (domain, range) => {
      flushes.push(range);
      original(domain, range);
    };
    invlpg(GVA);
    expect(flushes).toEqual([]);
    guest.poke(gpte(GVA), 0n);
    invlpg(GVA);
    expect(flushes).toEqual([{ startGfn: DATA, pages: 1 }]);
    // The entry is empty by now.
    invlpg(GVA);
    expect(flushes).toHaveLength(1);
  });
});

it("a table in sync is left alone: it cannot have changed unnoticed", () => {
  const guest = new ShadowGuest();
  const tables = new GuestTables(guest, 4, P | W | U | A);
  tables.map(GVA, DATA, LEAF);
  guest.load(longMode());
  guest.fault(GVA, WRITE);
  const { spte, sptep } = lastStep(guest, GVA);
  guest.poke(tables.entry(GVA, 1), 0n);
  const read: Address[] = [];
  class WatchingCpu extends ForwardingCpu {
    override readOnce(address: Address): bigint {
      read.push(address);
      return super.readOnce(address);
    }
  }
  guest.inSrcu(() => kvmMmuInvlpg(guest.mmu, new WatchingCpu(guest.cpu), guest.vcpu, GVA));
  expect(lastStep(guest, GVA).spte).toBe(spte);
  // The walk ends at the root, under which nothing is unsync.
  expect(read).not.toContain(sptep);
});

it("forgets an access outside every slot at that address", () => {
  const { guest, tables, invlpg } = editor();
  tables.map(GVA + 0x2000, 0x9_0000, LEAF);
  guest.fault(GVA + 0x2000, WRITE);
  expect(isMmioSpte(guest.format, lastStep(guest, GVA + 0x2000).spte)).toBe(true);
  expect(guest.cpu.readOnce(guest.vcpu.mmioGvaWord)).toBe(BigInt(GVA + 0x2000));
  invlpg(GVA);
  expect(guest.cpu.readOnce(guest.vcpu.mmioGvaWord)).toBe(BigInt(GVA + 0x2000));
  invlpg(GVA + 0x2123);
  expect(guest.cpu.readOnce(guest.vcpu.mmioGvaWord)).toBe(0n);
});

it("reaches the chosen roots, cached ones as well", () => {
  const { guest, tables, gpte } = editor();
  const { mmu, cpu, vcpu } = guest;
  const step = lastStep(guest, GVA);
  // A second root that shares nothing with the first.
  const other = new GuestTables(guest, 4, P | W | U | A, 100);
  other.map(GVA, DATA + 5, LEAF);
  guest.inSrcu(() => kvmSetCr3(mmu, cpu, vcpu, { cr3: 100 * 4096 + 1, pcide: true }));
  guest.reload();
  guest.poke(gpte(GVA), 0n);
  const invalidate = (roots: number) => guest.inSrcu(() => kvmMmuInvalidateAddr(mmu, cpu, vcpu, GVA, roots));
  invalidate(KVM_MMU_ROOT_CURRENT);
  expect(cpu.readOnce(step.sptep)).toBe(step.spte);
  invalidate(kvmMmuRootPrevious(0));
  expect(cpu.readOnce(step.sptep)).not.toBe(step.spte);
  expect(tables.entry(GVA, 1)).toBe(gpte(GVA));
});

it("with the dummy root, or without guest tables, there is nothing to do", () => {
  const guest = new ShadowGuest();
  guest.load(longMode({ cr3: 0x7fff_f000 }));
  guest.inSrcu(() => kvmMmuInvlpg(guest.mmu, guest.cpu, guest.vcpu, GVA));
  const direct = new ShadowGuest({ mode: "ept" });
  direct.load(longMode());
  direct.inSrcu(() => kvmMmuInvlpg(direct.mmu, direct.cpu, direct.vcpu, GVA));
  expect(violations(direct)).toEqual([]);
});
