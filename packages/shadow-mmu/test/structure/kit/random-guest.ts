import type { Address } from "@kvm-age/machine";
import { type Gfn, isWritablePte, PFERR_USER_MASK, spteToPfn } from "@kvm-age/spte";
import { kvmMmuInvlpg } from "../../../src/guest-walk/kvm-mmu-invlpg.js";
import { kvmMmuTrackWrite } from "../../../src/guest-write/kvm-mmu-track-write.js";
import { nextGfnValidSpWithGptes } from "../../../src/hash/for-each-gfn-valid-sp-with-gptes.js";
import { NO_PAGE, unsyncWord } from "../../../src/page/kvm-mmu-page.js";
import { kvmMmuFreeObsoleteRoots } from "../../../src/root/kvm-mmu-free-obsolete-roots.js";
import { kvmMmuNewPgd } from "../../../src/root/kvm-mmu-new-pgd.js";
import { kvmMmuSyncPrevRoots, kvmMmuSyncRoots } from "../../../src/unsync/kvm-mmu-sync-roots.js";
import { kvmMmuChangeMmuPages } from "../../../src/zap/kvm-mmu-change-mmu-pages.js";
import { kvmShadowZapAllFast } from "../../../src/zap/kvm-mmu-zap-all-fast.js";
import { HOST_BASE } from "../../guest/kit/byte-host.js";
import { GuestTables } from "../../guest/kit/guest-tables.js";
import { leafOf } from "../../guest/kit/shadow-path.js";
import type { ShadowGuest } from "../../kit/shadow-guest.js";
import { LEAF, longModeGuest, nestedGuest, TABLE, WRITE } from "./pages.js";

const PAGE = 4096;
const TABLE_SPAN = 512 * PAGE;
const SLOT_PAGES = 512;
const SPANS = 3;
const PAGES = 4;
const DATA_GFN = 128;
const ROOT_GFNS = [1, 32] as const;
const TABLES_PER_ROOT = 6;

/** Addresses that the guest uses: four pages of each of three tables of level 1. */
export const ADDRESSES: readonly number[] = Array.from(
  { length: SPANS * PAGES },
  (_, index) => 0x400000 + Math.floor(index / PAGES) * TABLE_SPAN + (index % PAGES) * PAGE,
);

/** Frames that the guest maps: data, and its own page tables. */
export const TARGETS: readonly number[] = [
  ...[0, 1, 2, 3].map((page) => DATA_GFN + page),
  ...ROOT_GFNS.flatMap((root) => Array.from({ length: TABLES_PER_ROOT }, (_, index) => root + index)),
];

/** Flags of the leaves that the guest writes: all, read-only, clean, neither accessed nor dirty, not present. */
export const FLAGS: readonly bigint[] = [LEAF, LEAF & ~2n, LEAF & ~0x40n, LEAF & ~0x60n, 0n];

/** What a leaf of the guest's says of an address. */
interface Translation {
  readonly gfn: number;
  readonly writable: boolean;
}

/**
 * A guest with two roots, which share a table, that does what guests may do: it writes to its page tables with its
 * processor where they are not protected, and by emulation where they are.
 */
export class RandomGuest {
  readonly guest: ShadowGuest;
  private readonly tables: readonly GuestTables[];
  private root = 0;

  constructor(readonly nested: boolean) {
    const init = { slotPages: SLOT_PAGES, arenaBytes: 24 << 20, options: { slotZapAll: !nested } };
    const { guest, tables } = nested ? nestedGuest(init) : longModeGuest(init);
    this.guest = guest;
    this.tables = [tables, new GuestTables(guest, 4, TABLE, ROOT_GFNS[1])];
    for (const [index, addr] of ADDRESSES.entries()) {
      for (const root of this.tables) root.map(addr, DATA_GFN + (index % 4), index % 3 === 0 ? 0n : LEAF);
    }
    const last = ADDRESSES.at(-1)!;
    guest.poke(this.tables[1]!.entry(last, 2), guest.peek(this.tables[0]!.entry(last, 2)));
  }

  /** A fault at an address; the vCPU first does what it was asked to. */
  access(addr: number, write: boolean): void {
    this.enter();
    this.guest.fault(addr, (write ? WRITE : 0) | PFERR_USER_MASK);
  }

  /** The guest changes the leaf of an address under one of its roots. */
  map(root: number, addr: number, gfn: number, flags: bigint): void {
    const gpa = this.tables[root]!.entry(addr, 1);
    this.guest.poke(gpa, (BigInt(gfn) << 12n) | flags);
    if (this.isProtected(Math.floor(gpa / PAGE))) this.emulated(gpa);
  }

  /** The guest loads a root, and with it flushes its TLB. */
  switchTo(root: number): void {
    const { guest } = this;
    const { mmu, cpu, vcpu } = guest;
    this.root = root;
    guest.inSrcu(() => kvmMmuNewPgd(mmu, cpu, vcpu, vcpu.current(cpu), ROOT_GFNS[root]! * PAGE));
    this.flush();
  }

  /** The guest flushes its TLB. */
  flush(): void {
    const { guest } = this;
    const { mmu, cpu, vcpu } = guest;
    this.enter();
    guest.inSrcu(() => {
      kvmMmuSyncRoots(mmu, cpu, vcpu);
      kvmMmuSyncPrevRoots(mmu, cpu, vcpu);
    });
  }

  invlpg(addr: number): void {
    this.enter();
    this.guest.inSrcu(() => kvmMmuInvlpg(this.guest.mmu, this.guest.cpu, this.guest.vcpu, addr));
  }

  zapAllFast(): void {
    this.guest.underSlotsLock(() => kvmShadowZapAllFast(this.guest.mmu, this.guest.cpu));
  }

  changeQuota(pages: number): void {
    this.guest.inSrcu(() => kvmMmuChangeMmuPages(this.guest.mmu, this.guest.cpu, pages));
  }

  /** The owner takes the memory away and gives it back. */
  recreateSlot(): void {
    this.guest.setRegion(0, 0, 0, HOST_BASE, 0);
    this.guest.setRegion(0, 0, SLOT_PAGES, HOST_BASE, 0);
  }

  /** After a flush: sentences about translations through the current root that a walk of the guest's tables would not allow. */
  staleTranslations(): string[] {
    const stale: string[] = [];
    for (const addr of ADDRESSES) {
      const leaf = leafOf(this.guest, addr);
      if (leaf === null) continue;
      const allowed = this.translate(addr);
      const pfn = spteToPfn(this.guest.format, leaf.spte);
      const right = allowed !== null && this.guest.host.pfnOf(allowed.gfn) === pfn;
      if (right && (allowed.writable || !isWritablePte(leaf.spte))) continue;
      stale.push(`0x${addr.toString(16)}: 0x${leaf.spte.toString(16)}, guest: ${JSON.stringify(allowed)}`);
    }
    return stale;
  }

  /** What the vCPU does before it enters the guest. */
  private enter(): void {
    const { mmu, cpu, vcpu } = this.guest;
    this.guest.inSrcu(() => kvmMmuFreeObsoleteRoots(mmu, cpu, vcpu));
    this.guest.reload();
  }

  private translate(addr: number): Translation | null {
    let writable = true;
    let gfn = ROOT_GFNS[this.root]! as number;
    for (const level of [4, 3, 2, 1]) {
      const index = Math.floor(addr / (PAGE * 512 ** (level - 1))) % 512;
      const gpte = this.guest.peek(gfn * PAGE + index * 8);
      if ((gpte & 1n) === 0n) return null;
      writable &&= (gpte & 2n) !== 0n && (level > 1 || (gpte & 0x40n) !== 0n);
      gfn = Number((gpte >> 12n) & 0xfffffffn);
    }
    return { gfn, writable };
  }

  /** Whether a page that shadows the frame is in sync, so that the frame is write-protected. */
  private isProtected(gfn: number): boolean {
    const { mmu, cpu } = this.guest;
    return this.guest.underWriteLock(() => {
      let sp = nextGfnValidSpWithGptes(mmu, cpu, gfn as Gfn, NO_PAGE);
      while (sp !== NO_PAGE && cpu.readOnce32(unsyncWord(sp) as Address) !== 0) {
        sp = nextGfnValidSpWithGptes(mmu, cpu, gfn as Gfn, sp);
      }
      return sp !== NO_PAGE;
    });
  }

  private emulated(gpa: number): void {
    this.guest.inSrcu(() => kvmMmuTrackWrite(this.guest.mmu, this.guest.cpu, gpa, 8));
  }
}
