import type { Address, Cpu } from "@kvm-age/machine";
import {
  type Gfn,
  type KvmMmuPageRole,
  type KvmMmuPageRoleFields,
  makeRole,
  PFERR_WRITE_MASK,
  roleFields,
} from "@kvm-age/spte";
import { expect } from "vitest";
import { checkShadowPageInvariants } from "../../../src/check/check-shadow-page-invariants.js";
import { checkShadowSpteInvariants } from "../../../src/check/check-shadow-spte-invariants.js";
import { kvmMmuGetShadowPage } from "../../../src/hash/kvm-mmu-get-shadow-page.js";
import { linkShadowPage } from "../../../src/link/link-shadow-page.js";
import {
  type KvmMmuPage,
  rootCountWord,
  spRole,
  spSptep,
  unsyncChildrenWord,
  unsyncWord,
} from "../../../src/page/kvm-mmu-page.js";
import { mmuTryToUnsyncPages } from "../../../src/unsync/mmu-try-to-unsync-pages.js";
import { kvmInitShadowNptMmu } from "../../../src/vcpu/kvm-init-shadow-npt-mmu.js";
import { InvalidList } from "../../../src/zap/invalid-list.js";
import { kvmMmuCommitZapPage } from "../../../src/zap/kvm-mmu-commit-zap-page.js";
import { kvmMmuPrepareZapPage } from "../../../src/zap/kvm-mmu-prepare-zap-page.js";
import { A, D, GuestTables, P, U, W } from "../../guest/kit/guest-tables.js";
import { longMode } from "../../guest/kit/registers.js";
import { ShadowGuest, type ShadowGuestInit } from "../../kit/shadow-guest.js";

/** Flags of a guest's leaf that allows all that these tests do. */
export const LEAF: bigint = P | W | U | A | D;
export const TABLE: bigint = P | W | U;
export const WRITE = PFERR_WRITE_MASK;

export interface LongModeGuest {
  readonly guest: ShadowGuest;
  readonly tables: GuestTables;
  readonly root: KvmMmuPage;
}

/** A guest in long mode whose root is loaded. */
export function longModeGuest(init: ShadowGuestInit = {}): LongModeGuest {
  const guest = new ShadowGuest(init);
  const tables = new GuestTables(guest, 4, TABLE);
  return { guest, tables, root: guest.load(longMode({ cr3: tables.rootGfn * 4096 })) };
}

/** An L1 in long mode that runs L2 under nested paging: the root of its nested tables is loaded. */
export function nestedGuest(init: ShadowGuestInit = {}): LongModeGuest {
  const guest = new ShadowGuest({ mode: "npt", ...init });
  const tables = new GuestTables(guest, 4, TABLE);
  const nCr3 = tables.rootGfn * 4096;
  guest.inSrcu(() =>
    kvmInitShadowNptMmu(guest.mmu, guest.cpu, guest.vcpu, { nCr3, cr0Wp: true, eferNx: true }),
  );
  return { guest, tables, root: guest.reload() };
}

/** A role like that of the vCPU's root, changed as asked. */
export function roleLike(guest: ShadowGuest, changes: Partial<KvmMmuPageRoleFields>): KvmMmuPageRole {
  const { rules } = guest.format;
  return makeRole(rules, {
    ...roleFields(rules, guest.vcpu.current(guest.cpu).rootRole(guest.cpu)),
    ...changes,
  });
}

/** The page of a gfn and of the root's role with changes, found or made. */
export function getPage(
  guest: ShadowGuest,
  gfn: number,
  changes: Partial<KvmMmuPageRoleFields>,
  cpu: Cpu = guest.cpu,
): KvmMmuPage {
  guest.vcpu.topUpMemoryCaches(cpu, true);
  const role = roleLike(guest, changes);
  return guest.underWriteLock(() => kvmMmuGetShadowPage(guest.mmu, cpu, guest.vcpu, gfn as Gfn, role), cpu);
}

export function link(
  guest: ShadowGuest,
  parent: KvmMmuPage,
  index: number,
  child: KvmMmuPage,
  cpu = guest.cpu,
): void {
  guest.underWriteLock(() => {
    const sptep = spSptep(cpu, parent, index);
    linkShadowPage(guest.mmu, cpu, guest.vcpu.pteListDescCache, sptep, child, true);
  }, cpu);
}

export function entry(guest: ShadowGuest, sp: KvmMmuPage, index: number): bigint {
  return guest.cpu.readOnce(spSptep(guest.cpu, sp, index));
}

/** Marks every page that shadows `gfn` unsync, as a write to it does. */
export function unsync(guest: ShadowGuest, gfn: number): number {
  return guest.underWriteLock(() =>
    mmuTryToUnsyncPages(guest.mmu, guest.cpu, guest.slot, gfn as Gfn, false, false),
  );
}

/** Prepares and commits one page; whether the list of active pages became unstable. */
export function zap(guest: ShadowGuest, sp: KvmMmuPage, cpu: Cpu = guest.cpu): boolean {
  return guest.underWriteLock(() => {
    const list = new InvalidList();
    const unstable = kvmMmuPrepareZapPage(guest.mmu, cpu, sp, list);
    kvmMmuCommitZapPage(guest.mmu, cpu, list);
    return unstable;
  }, cpu);
}

const read = (guest: ShadowGuest, word: Address): number => guest.cpu.readOnce32(word);

export const isUnsync = (guest: ShadowGuest, sp: KvmMmuPage): boolean => read(guest, unsyncWord(sp)) === 1;
export const unsyncChildren = (guest: ShadowGuest, sp: KvmMmuPage): number =>
  read(guest, unsyncChildrenWord(sp));
export const rootCount = (guest: ShadowGuest, sp: KvmMmuPage): number => read(guest, rootCountWord(sp));
export const usedPages = (guest: ShadowGuest): number => read(guest, guest.mmu.nUsedMmuPagesWord);
export const indirectPages = (guest: ShadowGuest): number => read(guest, guest.mmu.indirectShadowPagesWord);

export function isInvalid(guest: ShadowGuest, sp: KvmMmuPage): boolean {
  return roleFields(guest.format.rules, spRole(guest.cpu, sp)).invalid;
}

/** The active pages, newest first. */
export function activePages(guest: ShadowGuest): KvmMmuPage[] {
  const { mmu, cpu } = guest;
  const pages: KvmMmuPage[] = [];
  let sp = mmu.activeMmuPages.first(cpu);
  for (; sp !== 0; sp = mmu.activeMmuPages.next(cpu, sp)) pages.push(sp);
  return pages;
}

/** Nothing is wrong with pages and entries. */
export function expectSound(guest: ShadowGuest): void {
  expect(checkShadowPageInvariants(guest.mmu, guest.cpu)).toEqual([]);
  expect(checkShadowSpteInvariants(guest.mmu, guest.cpu)).toEqual([]);
}
