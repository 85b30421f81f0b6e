import { memberRequestsWord } from "@kvm-age/machine";
import { RetPf } from "@kvm-age/page-fault";
import {
  isExecutablePte,
  isMmioSpte,
  isUserPte,
  isWritablePte,
  linux73,
  linux615,
  spteToPfn,
} from "@kvm-age/spte";
import { expect } from "vitest";
import { kvmMmuInvlpg } from "../../../src/guest-walk/kvm-mmu-invlpg.js";
import { kvmWriteGuestPte } from "../../../src/guest-write/kvm-write-guest-pte.js";
import { handleShadowMmuRequests } from "../../../src/root/handle-shadow-mmu-requests.js";
import { kvmSetCr3 } from "../../../src/vcpu/kvm-set-cr3.js";
import { ShadowGuest } from "../../kit/shadow-guest.js";
import { violations } from "./check.js";
import { A, D, P, PS, U, W } from "./guest-tables.js";
import {
  type ReferenceAccess,
  type ReferenceMode,
  type ReferenceResult,
  referenceWalk,
} from "./reference-walk.js";
import { longMode } from "./registers.js";
import { lastStep, leafOf, type ShadowStep } from "./shadow-path.js";

/** Pages of the guest that have bytes, and so can be tables. */
export const TABLE_PAGES = 24;
/** Pages of the guest; those without bytes may be mapped large. */
const SLOT_PAGES = 2048;
/** Entries of every table that are filled at first. */
export const FILLED = 2;
/** First page of each depth below the root; the pages behind the last are data. */
const DEPTHS = [0, 1, 3, 6, 10, 14] as const;

const MAX_PHY_ADDR = 46;
/** The frame that an entry may name. */
const FRAME_FIELD = (2n ** BigInt(MAX_PHY_ADDR) - 1n) & ~0xfffn;
/** Bits that a PDPTE may have. */
const LEGAL_PDPTE = (2n ** BigInt(MAX_PHY_ADDR) - 1n) ^ 0x1e6n;

/** What one entry holds at first: a frame that makes sense there and plain flags with some flipped, or any 64 bits. */
export interface GarbageEntry {
  readonly pick: number;
  readonly flips: bigint;
  /** At the levels that have them: a large page. */
  readonly large: boolean;
  readonly raw: bigint | null;
}

export interface Garbage {
  readonly levels: 3 | 4 | 5;
  readonly flags: readonly [wp: boolean, nx: boolean, smep: boolean, smap: boolean];
  readonly modern: boolean;
  readonly nxHugePages: boolean;
  /**
   * The guest's entries may lead outside every slot, and it flushes after every store to a table. Otherwise they do not, and it
   * flushes when it likes: a stale entry that caches "no slot" hides from the kernel that a page is a guest table (see
   * `indirect-fault.test.ts`), and then the rules are broken indeed.
   */
  readonly mmio: boolean;
  /** Of the first entries of every page, before the guest runs. */
  readonly entries: readonly GarbageEntry[];
}

/** An access of the guest; a write may store an entry into the page that it reaches. */
export interface GuestAccess extends ReferenceAccess {
  readonly kind: "access";
  readonly addr: number;
  readonly store: { readonly index: number; readonly value: bigint } | null;
}

export type Step =
  | GuestAccess
  /** A store that somebody carries out for the guest. */
  | { readonly kind: "emulated-store"; readonly page: number; readonly index: number; readonly value: bigint }
  | { readonly kind: "invlpg"; readonly addr: number }
  | { readonly kind: "cr3" };

/** A guest whose tables are garbage, the slow walk beside it, and the checks between them. */
export class GarbageGuest {
  readonly guest: ShadowGuest;
  private readonly mode: ReferenceMode;
  /** PDPTEs as they were when CR3 was loaded. */
  private pdptes: readonly bigint[] = [];
  private readonly touched = new Set<number>();
  private readonly mmio: boolean;

  constructor({ mmio, levels, flags: [wp, nx, smep, smap], modern, nxHugePages, entries }: Garbage) {
    this.guest = new ShadowGuest({
      ruleSet: modern ? linux73 : linux615,
      backedPages: TABLE_PAGES,
      slotPages: SLOT_PAGES,
      hugeLevel: 3,
      arenaBytes: 16 << 20,
      options: { nxHugePages },
    });
    this.mode = { levels, root: 0, wp, nx, smep, smap, maxPhyAddr: MAX_PHY_ADDR };
    this.mmio = mmio;
    for (const [at, entry] of entries.entries()) {
      const page = Math.floor(at / FILLED);
      this.guest.poke(page * 4096 + (at % FILLED) * 8, this.confined(this.initialEntry(page, entry)));
    }
    if (levels === 3) this.legalisePdptes();
    this.loadPdptes();
    const registers = { cr0Wp: wp, eferNx: nx, cr4Smep: smep, cr4Smap: smap };
    this.guest.load(longMode({ ...registers, cr3: 0, eferLma: levels > 3, cr4La57: levels === 5 }));
  }

  /** The entry, made to lead to a page of the slot if the guest has no others. */
  private confined(entry: bigint): bigint {
    if (this.mmio) return entry;
    const frame = (entry & FRAME_FIELD) >> 12n;
    return (entry & ~FRAME_FIELD) | ((frame % BigInt(SLOT_PAGES)) << 12n);
  }

  /** Tables lead to those of the next depth; the last ones to any page, most of all to each other. */
  private initialEntry(page: number, { pick, flips, large, raw }: GarbageEntry): bigint {
    if (raw !== null) return raw;
    const depth = DEPTHS.findLastIndex((first) => page >= first);
    const { levels } = this.mode;
    const flags = (P | W | U | A | D) ^ flips;
    if (large && depth === levels - 2) return (BigInt((pick % 4) * 0x200) << 12n) | flags | PS;
    if (large && depth === levels - 3 && levels > 3) return flags | PS;
    if (depth < levels - 1) {
      const first = DEPTHS[depth + 1]!;
      return (BigInt(first + (pick % (DEPTHS[depth + 2]! - first))) << 12n) | flags;
    }
    const [first, end] = [DEPTHS[levels - 1]!, DEPTHS[levels]!];
    const frame = pick % 2 === 0 ? first + (pick % (end - first)) : pick % TABLE_PAGES;
    return (BigInt(frame) << 12n) | flags;
  }

  run(step: Step): void {
    if (step.kind === "access") this.access(step);
    else if (step.kind === "invlpg") this.invlpg(this.linear(step.addr));
    else if (step.kind === "emulated-store")
      this.emulatedStore(step.page * 4096 + step.index * 8, step.value);
    else this.loadCr3();
    this.guest.reload();
    expect(violations(this.guest)).toEqual([]);
  }

  private access({ addr: any, store, ...kind }: GuestAccess): void {
    const { guest } = this;
    const addr = this.linear(any);
    this.touched.add(addr);
    const expected = this.walk(addr, kind);
    if (!this.mmio && "frame" in expected && expected.frame >= SLOT_PAGES) return;
    const code = (kind.write ? 2 : 0) | (kind.user ? 4 : 0) | (kind.fetch ? 16 : 0);
    const result = guest.fault(addr, code);
    if ("errorCode" in expected) {
      const { errorCode } = expected;
      expect(result.guestFault).toEqual({ address: addr, errorCode, nested: false });
      return;
    }
    expect([result.guestFault, result.errno]).toEqual([null, null]);
    this.checkAccessedDirty(expected.path, kind.write);
    this.checkMapped(addr, result.ret, kind.write, expected.frame);
    if (store !== null && this.mayStore(addr, result.ret, kind, expected.frame)) {
      guest.poke(expected.frame * 4096 + store.index * 8, this.confined(store.value));
      if (this.mmio) this.loadCr3();
    }
  }

  /** Whether the processor can store through the translation that the fault left behind. */
  private mayStore(addr: number, ret: RetPf, kind: ReferenceAccess, frame: number): boolean {
    const leaf = leafOf(this.guest, addr);
    const done = ret === RetPf.fixed || ret === RetPf.spurious;
    return done && kind.write && frame < TABLE_PAGES && leaf !== null && isWritablePte(leaf.spte);
  }

  /** All but the PDPTE. */
  private checkAccessedDirty(path: readonly number[], write: boolean): void {
    for (const gpa of path.slice(this.mode.levels === 3 ? 1 : 0)) {
      expect(this.read(gpa, false)! & A).toBe(A);
    }
    if (write) expect(this.read(path.at(-1)!, false)! & D).toBe(D);
  }

  /** What the shadow tables say after a fault that was the host's. */
  private checkMapped(addr: number, ret: RetPf, write: boolean, frame: number): void {
    const { guest } = this;
    if (frame >= SLOT_PAGES) {
      expect(ret).toBe(RetPf.emulate);
      expect(isMmioSpte(guest.format, lastStep(guest, addr).spte) || frame >= 2 ** 34).toBe(true);
    } else if (ret === RetPf.fixed || ret === RetPf.spurious) {
      const leaf = leafOf(guest, addr)!;
      expect(this.pfnAt(leaf, frame)).toBe(guest.host.pfnOf(frame));
      if (write) expect(isWritablePte(leaf.spte)).toBe(true);
    } else {
      // A bit went into a table of the walk's own, or the page is a shadowed table.
      expect([RetPf.retry, RetPf.emulate]).toContain(ret);
    }
  }

  private pfnAt({ spte, level }: ShadowStep, frame: number): number {
    return spteToPfn(this.guest.format, spte) + (frame % 512 ** (level - 1));
  }

  private emulatedStore(gpa: number, value: bigint): void {
    const { mmu, cpu, vcpu } = this.guest;
    this.guest.inSrcu(() => kvmWriteGuestPte(mmu, cpu, vcpu, gpa, 8, this.confined(value)));
  }

  private invlpg(addr: number): void {
    const { mmu, cpu, vcpu } = this.guest;
    this.guest.inSrcu(() => kvmMmuInvlpg(mmu, cpu, vcpu, addr));
    this.checkTranslation(addr);
  }

  /** A load of CR3 and the entry after it. */
  private loadCr3(): void {
    const { mmu, cpu, vcpu, flushDomain } = this.guest;
    const loaded = this.guest.inSrcu(() => kvmSetCr3(mmu, cpu, vcpu, { cr3: 0 }));
    expect(loaded).toBe(this.mode.levels > 3 || this.pdptesAreLegal());
    if (!loaded) return;
    this.loadPdptes();
    const requests = cpu.xchg32(memberRequestsWord(flushDomain, vcpu.id), 0, "full");
    this.guest.inSrcu(() => handleShadowMmuRequests(mmu, cpu, vcpu, requests));
    this.guest.reload();
    for (const addr of this.touched) this.checkTranslation(addr);
  }

  /** After the guest's flush: what hardware can use of the address is what the guest's tables allow now, or less. */
  private checkTranslation(addr: number): void {
    const leaf = leafOf(this.guest, addr);
    if (leaf === null) return;
    const { format } = this.guest;
    const user = isUserPte(format, leaf.spte);
    const read = { write: false, user, fetch: false };
    const kinds: ReferenceAccess[] = [read];
    if (isWritablePte(leaf.spte)) kinds.push({ ...read, write: true });
    if (isExecutablePte(format, leaf.spte)) kinds.push({ ...read, fetch: true });
    for (const kind of kinds) {
      const allowed = this.walk(addr, kind);
      expect([addr, kind, allowed]).toMatchObject([addr, kind, { frame: expect.any(Number) }]);
      if ("frame" in allowed) {
        expect(this.pfnAt(leaf, allowed.frame)).toBe(this.guest.host.pfnOf(allowed.frame));
      }
    }
  }

  private walk(addr: number, kind: ReferenceAccess): ReferenceResult {
    return referenceWalk((gpa, isPdpte) => this.read(gpa, isPdpte), this.mode, addr, kind);
  }

  private read(gpa: number, isPdpte: boolean): bigint | null {
    if (isPdpte) return this.pdptes[gpa / 8]!;
    if (gpa >= SLOT_PAGES * 4096) return null;
    return gpa < TABLE_PAGES * 4096 ? this.guest.peek(gpa) : 0n;
  }

  private linear(addr: number): number {
    return addr % 2 ** ({ 3: 32, 4: 48, 5: 53 } as const)[this.mode.levels];
  }

  private loadPdptes(): void {
    this.pdptes = [0, 1, 2, 3].map((at) => this.guest.peek(at * 8));
  }

  private pdptesAreLegal(): boolean {
    return [0, 1, 2, 3].every((at) => {
      const entry = this.guest.peek(at * 8);
      return (entry & P) === 0n || (entry & ~LEGAL_PDPTE) === 0n;
    });
  }

  /** Garbage that a processor would refuse to load cannot become PDPTEs. */
  private legalisePdptes(): void {
    for (const at of [0, 1, 2, 3]) this.guest.poke(at * 8, this.guest.peek(at * 8) & LEGAL_PDPTE);
  }
}
