import { ForwardingCpu, memberRequestsWord, type TraceEvent, traceTo } from "@kvm-age/machine";
import {
  type Hva,
  kvmMmuInvalidateEnd,
  kvmMmuInvalidateRangeAdd,
  kvmMmuInvalidateStart,
} from "@kvm-age/memslot";
import { REQUEST_MMU_FREE_OBSOLETE_ROOTS, REQUEST_MMU_SYNC, RetPf } from "@kvm-age/page-fault";
import {
  type Gfn,
  isExecutablePte,
  isMmioSpte,
  isShadowPresentPte,
  isUserPte,
  isWritablePte,
  linux73,
  linux615,
  roleFields,
  SHADOW_NONPRESENT_VALUE,
  spteToPfn,
} from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { kvmMmuInvlpg } from "../../src/guest-walk/kvm-mmu-invlpg.js";
import { kvmWriteGuestPte } from "../../src/guest-write/kvm-write-guest-pte.js";
import {
  NO_PAGE,
  nxHugePageDisallowedWord,
  spGfn,
  spRole,
  unsyncChildrenWord,
  unsyncWord,
} from "../../src/page/kvm-mmu-page.js";
import { handleShadowMmuRequests } from "../../src/root/handle-shadow-mmu-requests.js";
import { kvmInitShadowEptMmu } from "../../src/vcpu/kvm-init-shadow-ept-mmu.js";
import { kvmInitShadowNptMmu } from "../../src/vcpu/kvm-init-shadow-npt-mmu.js";
import { kvmSetCr3 } from "../../src/vcpu/kvm-set-cr3.js";
import { ShadowGuest, type ShadowGuestInit } from "../kit/shadow-guest.js";
import { HOST_BASE } from "./kit/byte-host.js";
import { violations } from "./kit/check.js";
import {
  A,
  D,
  EPT_A,
  EPT_D,
  EPT_R,
  EPT_RWX,
  EPT_WB,
  GuestTables,
  NX,
  P,
  PS,
  U,
  W,
} from "./kit/guest-tables.js";
import { longMode } from "./kit/registers.js";
import { lastStep, leafOf, shadowPath } from "./kit/shadow-path.js";

const READ = 0;
const PRESENT = 1;
const WRITE = 2;
const USER = 4;
const RSVD = 8;
const FETCH = 16;

const GVA = 0x7f12_3456_7000;
const LEAF = P | W | U | A | D;
const TABLE = P | W | U | A;

function guestOf(
  levels: 3 | 4 | 5 = 4,
  init: ShadowGuestInit = {},
  changes: Parameters<typeof longMode>[0] = {},
) {
  const guest = new ShadowGuest(init);
  const tables = new GuestTables(guest, levels, TABLE);
  const registers = longMode({ eferLma: levels > 3, cr4La57: levels === 5, ...changes });
  /** Loads a root; for PAE the top level of the tables must be in place. */
  const load = () => guest.load(registers);
  const fields = (sp: Parameters<typeof spRole>[1]) => roleFields(guest.format.rules, spRole(guest.cpu, sp));
  return { guest, tables, load, fields };
}

describe.each([linux73, linux615])("shadow pages for the tables of the walk, $name", (ruleSet) => {
  it.each([
    [4, GVA],
    [5, 0x12_3456_789a_b000],
  ] as const)("%i levels", (levels, gva) => {
    const { guest, tables, load, fields } = guestOf(levels, { ruleSet });
    tables.map(gva, 300, LEAF);
    load();
    expect(guest.fault(gva, WRITE)).toMatchObject({ ret: RetPf.fixed, guestFault: null, errno: null });
    const path = shadowPath(guest, gva);
    expect(path.map(({ level }) => level)).toEqual([5, 4, 3, 2, 1].slice(5 - levels));
    for (const { sp, level } of path) {
      expect(spGfn(guest.cpu, sp)).toBe(tables.tableGfn(gva, level));
      expect(fields(sp)).toMatchObject({ level, direct: false, access: ruleSet.accAll });
    }
    const leaf = leafOf(guest, gva)!;
    expect(spteToPfn(guest.format, leaf.spte)).toBe(guest.host.pfnOf(300));
    expect([isWritablePte(leaf.spte), isUserPte(guest.format, leaf.spte)]).toEqual([true, true]);
    expect(violations(guest)).toEqual([]);
  });

  it("PAE: four roots of level 2", () => {
    const { guest, tables, load } = guestOf(3, { ruleSet });
    const gva = 0xc0de_f000;
    tables.map(gva, 300, LEAF);
    load();
    expect(guest.fault(gva, WRITE).ret).toBe(RetPf.fixed);
    expect(shadowPath(guest, gva).map(({ level }) => level)).toEqual([2, 1]);
    expect(spteToPfn(guest.format, lastStep(guest, gva).spte)).toBe(guest.host.pfnOf(300));
    expect(violations(guest)).toEqual([]);
  });

  it("access narrows on the way down", () => {
    const { guest, tables, load, fields } = guestOf(4, { ruleSet });
    tables.map(GVA, 300, LEAF);
    const edit = (level: number, set: bigint, clear: bigint) => {
      const gpa = tables.entry(GVA, level);
      guest.poke(gpa, (guest.peek(gpa) & ~clear) | set);
    };
    edit(4, 0n, U);
    edit(3, NX, 0n);
    edit(2, 0n, W);
    load();
    guest.fault(GVA, READ);
    const { accAll, accUserMask, accExecMask, accWriteMask } = ruleSet;
    expect(shadowPath(guest, GVA).map(({ sp }) => fields(sp).access)).toEqual([
      accAll,
      accAll & ~accUserMask,
      accAll & ~accUserMask & ~accExecMask,
      accAll & ~accUserMask & ~accExecMask & ~accWriteMask,
    ]);
    const { spte } = lastStep(guest, GVA);
    const { format } = guest;
    expect([isWritablePte(spte), isUserPte(format, spte), isExecutablePte(format, spte)]).toEqual([
      false,
      false,
      false,
    ]);
    expect(violations(guest)).toEqual([]);
  });

  it("two addresses share the tables that they have in common", () => {
    const { guest, tables, load } = guestOf(4, { ruleSet });
    tables.map(GVA, 300, LEAF);
    tables.map(GVA + 0x20_0000, 301, LEAF);
    load();
    guest.fault(GVA, WRITE);
    guest.fault(GVA + 0x20_0000, WRITE);
    const pages = (gva: number) => shadowPath(guest, gva).map(({ sp }) => sp);
    expect(pages(GVA).slice(0, 3)).toEqual(pages(GVA + 0x20_0000).slice(0, 3));
    expect(guest.statistic("mmu_cache_miss")).toBe(5);
    expect(violations(guest)).toEqual([]);
  });
});

describe("the leaf", () => {
  it("maps the guest's large page by one of its own", () => {
    const { guest, tables, load } = guestOf(4, { hugeLevel: 3 });
    tables.map(0x20_0000, 0x400, LEAF | PS, 2);
    load();
    expect(guest.fault(0x20_0000 + 0x5000, WRITE).ret).toBe(RetPf.fixed);
    const leaf = leafOf(guest, 0x20_0000)!;
    expect([leaf.level, spteToPfn(guest.format, leaf.spte)]).toEqual([2, guest.host.pfnOf(0x400)]);
    expect(guest.statistic("pages_2m")).toBe(1);
    expect(violations(guest)).toEqual([]);
  });

  it("is no larger than the guest's, whatever the host has", () => {
    const { guest, tables, load } = guestOf(4, { hugeLevel: 3 });
    tables.map(0x20_0000, 0x400, LEAF);
    load();
    guest.fault(0x20_0000, WRITE);
    expect(leafOf(guest, 0x20_0000)!.level).toBe(1);
  });

  it("of a guest's 2 MiB page over small host pages hangs below a direct table", () => {
    const { guest, tables, load, fields } = guestOf();
    tables.map(0x20_0000, 0x400, P | W | A | D | PS, 2);
    load();
    expect(guest.fault(0x20_0000 + 0x5000, WRITE).ret).toBe(RetPf.fixed);
    const { sp, level, spte } = leafOf(guest, 0x20_5000)!;
    expect(level).toBe(1);
    const access = linux73.accAll & ~linux73.accUserMask;
    expect(fields(sp)).toMatchObject({ direct: true, access });
    expect(spGfn(guest.cpu, sp)).toBe(0x400);
    expect(spteToPfn(guest.format, spte)).toBe(guest.host.pfnOf(0x405));
    expect(violations(guest)).toEqual([]);
  });

  it("of a guest's 1 GiB page over 2 MiB host pages is one of 2 MiB", () => {
    const { guest, tables, load, fields } = guestOf(4, { slotPages: 0x80000, hugeLevel: 2 });
    tables.map(2 ** 30, 0x40000, LEAF | PS, 3);
    load();
    guest.fault(2 ** 30 + 0x1234_5000, WRITE);
    const { sp, level, spte } = leafOf(guest, 2 ** 30 + 0x1234_5000)!;
    expect([level, fields(sp).direct]).toEqual([2, true]);
    expect(spteToPfn(guest.format, spte)).toBe(guest.host.pfnOf(0x40000 + 0x12200));
    expect(violations(guest)).toEqual([]);
  });

  it("a direct table goes when the guest's page has other access", () => {
    const { guest, tables, load, fields } = guestOf();
    tables.map(0x20_0000, 0x400, P | W | U | A | D | PS, 2);
    load();
    guest.fault(0x20_0000, WRITE);
    const first = lastStep(guest, 0x20_0000).sp;
    // The guest makes the page read-only and forgets to flush.
    guest.poke(tables.entry(0x20_0000, 2), (0x400n << 12n) | P | U | A | D | PS);
    guest.fault(0x20_1000, READ);
    const second = lastStep(guest, 0x20_1000).sp;
    expect(second).not.toBe(first);
    expect(fields(second).access & linux73.accWriteMask).toBe(0);
    expect(leafOf(guest, 0x20_0000)?.sp).not.toBe(first);
    expect(violations(guest)).toEqual([]);
  });

  it("a large page with a guest table inside is broken up", () => {
    const { guest, tables, load } = guestOf(4, { backedPages: 256, slotPages: 4096, hugeLevel: 2 });
    tables.map(GVA, 0x405, LEAF);
    tables.map(0x20_0000, 0x400, LEAF | PS, 2);
    load();
    guest.fault(0x20_0000, WRITE);
    expect(leafOf(guest, 0x20_0000)!.level).toBe(2);
    guest.fault(GVA, WRITE);
    // Frame 1 to 6 are tables; a page of 2 MiB over them would make them writable.
    tables.map(0x40_0000, 0, LEAF | PS, 2);
    guest.fault(0x40_8000, WRITE);
    expect(leafOf(guest, 0x40_8000)!.level).toBe(1);
    expect(violations(guest)).toEqual([]);
  });

  it("is executable in small pages only under the NX mitigation", () => {
    const { guest, tables, load } = guestOf(4, { hugeLevel: 2, options: { nxHugePages: true } });
    tables.map(0x20_0000, 0x400, LEAF | PS, 2);
    load();
    guest.fault(0x20_0000, WRITE);
    expect(leafOf(guest, 0x20_0000)!.level).toBe(2);
    guest.fault(0x20_0000, FETCH | PRESENT);
    const { level, sp, spte } = leafOf(guest, 0x20_0000)!;
    expect([level, isExecutablePte(guest.format, spte)]).toEqual([1, true]);
    expect(guest.cpu.readOnce32(nxHugePageDisallowedWord(sp))).toBe(1);
    // A read does not put the large page back.
    guest.fault(0x20_1000, READ);
    expect(lastStep(guest, 0x20_1000).sp).toBe(sp);
    expect(violations(guest)).toEqual([]);
  });

  it("outside every slot is remembered, and answered without a walk the next time", () => {
    const { guest, tables, load } = guestOf();
    tables.map(GVA, 0x9_0000, LEAF);
    load();
    expect(guest.fault(GVA, WRITE).ret).toBe(RetPf.emulate);
    expect(isMmioSpte(guest.format, lastStep(guest, GVA).spte)).toBe(true);
    const taken = guest.statistic("pf_taken");
    expect(guest.fault(GVA, RSVD | PRESENT | WRITE).ret).toBe(RetPf.emulate);
    expect(guest.statistic("pf_taken")).toBe(taken);
    // A slot appears: the old answer is stale, and the page is mapped.
    guest.setRegion(1, 0x9_0000, 16, (HOST_BASE + 0x9_0000 * 4096) as Hva, 0);
    expect(guest.fault(GVA, RSVD | PRESENT | WRITE).ret).toBe(RetPf.fixed);
    expect(isShadowPresentPte(lastStep(guest, GVA).spte)).toBe(true);
    expect(violations(guest)).toEqual([]);
  });
});

describe("what the guest's tables forbid goes to the guest", () => {
  it.each([
    ["not mapped", 0n, WRITE | USER, WRITE | USER],
    ["read-only", P | U | A, WRITE | USER | PRESENT, WRITE | USER | PRESENT],
    ["supervisor only", P | W | A, USER, USER | PRESENT],
    ["reserved bit", LEAF | (1n << 46n), READ, RSVD | PRESENT],
  ])("%s", (_name, flags, access, errorCode) => {
    const { guest, tables, load } = guestOf();
    tables.map(GVA, 300, flags);
    load();
    const result = guest.fault(GVA + 0x123, access);
    expect(result).toMatchObject({ ret: RetPf.retry, errno: null });
    expect(result.guestFault).toEqual({ address: GVA + 0x123, errorCode, nested: false });
    expect(guest.statistic("mmu_cache_miss")).toBe(1);
  });

  it("a reserved bit of KVM's own is none of the guest's business", () => {
    const { guest, tables, load } = guestOf();
    tables.map(GVA, 300, LEAF);
    load();
    // A stale MMIO entry sends the fault down the ordinary path with RSVD set.
    tables.map(GVA, 0x9_0000, LEAF);
    guest.fault(GVA, WRITE);
    guest.setRegion(1, 0xa_0000, 16, (HOST_BASE + 0xa_0000 * 4096) as Hva, 0);
    guest.poke(tables.entry(GVA, 1), 0n);
    expect(guest.fault(GVA, RSVD | PRESENT).guestFault).toMatchObject({ errorCode: 0 });
  });
});

describe("CR0.WP = 0", () => {
  it.each([
    [linux73, false],
    [linux73, true],
    [linux615, false],
    [linux615, true],
  ])("$name, SMEP %s: a supervisor's write makes the page the supervisor's", (ruleSet, cr4Smep) => {
    const { guest, tables, load } = guestOf(4, { ruleSet }, { cr0Wp: false, cr4Smep });
    const { format } = guest;
    const bits = () => {
      const { spte } = lastStep(guest, GVA);
      return [isWritablePte(spte), isUserPte(format, spte), isExecutablePte(format, spte)];
    };
    tables.map(GVA, 300, P | U | A);
    load();
    guest.fault(GVA, USER);
    expect(bits()).toEqual([false, true, true]);
    guest.fault(GVA, WRITE | PRESENT);
    expect(bits()).toEqual([true, false, !cr4Smep]);
    expect(guest.peek(tables.entry(GVA, 1)) & D).toBe(D);
    // The user is refused by the SPTE, not by the guest's tables, and gets the page back as it was.
    expect(guest.fault(GVA, USER | PRESENT)).toMatchObject({ ret: RetPf.fixed, guestFault: null });
    expect(bits()).toEqual([false, true, true]);
    expect(guest.fault(GVA, USER | WRITE | PRESENT).guestFault).toMatchObject({ errorCode: 7 });
    expect(violations(guest)).toEqual([]);
  });

  it("does not make writable what is outside every slot", () => {
    const { guest, tables, load } = guestOf(4, {}, { cr0Wp: false });
    tables.map(GVA, 0x9_0000, P | U | A | D);
    load();
    expect(guest.fault(GVA, WRITE).ret).toBe(RetPf.emulate);
    expect(lastStep(guest, GVA).spte & 2n).toBe(0n);
  });
});

describe("writes to guest tables", () => {
  it("above 4 KiB entries are emulated, and those on their own path cannot be let through", () => {
    const { guest, tables, load } = guestOf();
    tables.map(GVA, 300, LEAF);
    // One window onto the table that is on the window's own path, one onto another.
    tables.map(GVA + 0x1000, tables.tableGfn(GVA, 2), LEAF);
    tables.map(0x1000, 301, LEAF);
    tables.map(GVA + 0x2000, tables.tableGfn(0x1000, 2), LEAF);
    load();
    guest.fault(0x1000, WRITE);
    const own = guest.fault(GVA + 0x1000, WRITE);
    expect(own).toMatchObject({ ret: RetPf.emulate, writeFaultToShadowPgtable: true });
    const other = guest.fault(GVA + 0x2000, WRITE);
    expect(other).toMatchObject({ ret: RetPf.emulate, writeFaultToShadowPgtable: false, allowRetry: true });
    expect(guest.statistic("pf_emulate")).toBe(2);
    // Present and write-tracked: answered before the walk through the shadow pages.
    expect(guest.fault(GVA + 0x2000, WRITE | PRESENT)).toMatchObject({ ret: RetPf.emulate });
    expect(violations(guest)).toEqual([]);
  });

  it("of 4 KiB entries make them unsync, and a sync brings them back in line", () => {
    const { guest, tables, load } = guestOf();
    tables.map(GVA, 300, LEAF);
    tables.map(0x1000, tables.tableGfn(GVA, 1), LEAF);
    const root = load();
    guest.fault(GVA, WRITE);
    expect(guest.fault(0x1000, WRITE).ret).toBe(RetPf.fixed);
    expect(guest.cpu.readOnce32(unsyncChildrenWord(root))).toBe(1);
    expect(violations(guest)).toEqual([]);
    guest.poke(tables.entry(GVA, 1), (305n << 12n) | LEAF);
    // A load of CR3 counts as a flush: the next entry serves the request that it makes.
    const { mmu, cpu, vcpu } = guest;
    guest.inSrcu(() => kvmSetCr3(mmu, cpu, vcpu, { cr3: 0x1000 }));
    const requests = cpu.xchg32(memberRequestsWord(guest.flushDomain, vcpu.id), 0, "full");
    guest.inSrcu(() => handleShadowMmuRequests(mmu, cpu, vcpu, requests));
    expect(leafOf(guest, GVA)).toBeNull();
    guest.fault(GVA, WRITE);
    expect(spteToPfn(guest.format, leafOf(guest, GVA)!.spte)).toBe(guest.host.pfnOf(305));
    expect(guest.cpu.readOnce32(unsyncChildrenWord(root))).toBe(0);
    expect(violations(guest)).toEqual([]);
  });
});

describe("a cached page with unsync children is linked again", () => {
  /** Two pages under one unsync table, one of them changed; the link above the table's table was dropped by a store of the same value. */
  function relinked() {
    const { guest, tables, load } = guestOf();
    guest.host.prefetchable = false;
    tables.map(GVA, 300, LEAF);
    tables.map(GVA + 0x1000, 301, LEAF);
    tables.map(0x1000, tables.tableGfn(GVA, 1), LEAF);
    load();
    for (const gva of [GVA, GVA + 0x1000, 0x1000]) guest.fault(gva, WRITE);
    const table = lastStep(guest, GVA + 0x1000);
    guest.poke(tables.entry(GVA + 0x1000, 1), (305n << 12n) | LEAF);
    const gpa = tables.entry(GVA, 4);
    const { mmu, cpu, vcpu } = guest;
    guest.inSrcu(() => kvmWriteGuestPte(mmu, cpu, vcpu, gpa, 8, guest.peek(gpa)));
    expect(shadowPath(guest, GVA)).toHaveLength(1);
    return { guest, table };
  }

  it("after they are synced: the guest owes no flush for what became present", () => {
    const { guest, table } = relinked();
    // The leaf itself is still there.
    expect(guest.fault(GVA, WRITE).ret).toBe(RetPf.spurious);
    expect(lastStep(guest, GVA + 0x1000).sp).toBe(table.sp);
    expect(leafOf(guest, GVA + 0x1000)).toBeNull();
    expect(guest.cpu.readOnce32(unsyncWord(table.sp))).toBe(0);
    expect(violations(guest)).toEqual([]);
  });

  it("or not at all while somebody waits for the lock: the sync is asked for", () => {
    const { guest } = relinked();
    class ContendedCpu extends ForwardingCpu {
      override rwlockNeedbreak(): boolean {
        return true;
      }
    }
    const request = memberRequestsWord(guest.flushDomain, guest.vcpu.id);
    guest.cpu.writeOnce32(request, 0);
    const result = guest.fault(GVA, WRITE, guest.vcpu, new ContendedCpu(guest.cpu));
    expect(result).toMatchObject({ ret: RetPf.retry, guestFault: null });
    expect(guest.cpu.readOnce32(request) & REQUEST_MMU_SYNC).toBe(REQUEST_MMU_SYNC);
    expect(shadowPath(guest, GVA)).toHaveLength(1);
    expect(violations(guest)).toEqual([]);
    expect(guest.fault(GVA, WRITE).ret).toBe(RetPf.spurious);
  });
});

describe("a stale entry that caches an access outside every slot", () => {
  /** The guest sees its own root table through `GVA`, whose entry led outside every slot when it was last used. */
  function staleMmio() {
    const { guest, tables, load } = guestOf();
    tables.map(GVA, 0x9_0000, LEAF);
    tables.map(0x1000, tables.tableGfn(GVA, 1), LEAF);
    load();
    guest.fault(GVA, WRITE);
    guest.fault(0x1000, WRITE);
    guest.poke(tables.entry(GVA, 1), (BigInt(tables.rootGfn) << 12n) | LEAF);
    return guest;
  }

  it("is no writable leaf after the guest's flush: the table stays write-protected", () => {
    const guest = staleMmio();
    guest.inSrcu(() => kvmMmuInvlpg(guest.mmu, guest.cpu, guest.vcpu, GVA));
    expect(guest.fault(GVA, WRITE).ret).toBe(RetPf.emulate);
    expect(isWritablePte(leafOf(guest, GVA)!.spte)).toBe(false);
    expect(violations(guest)).toEqual([]);
  });

  it("without one passes for a writable leaf, as in the kernel: the guest gets its root table writable", () => {
    // `make_spte` looks at W of the value it replaces without asking whether that is present. Found by the garbage tables.
    const guest = staleMmio();
    expect(guest.fault(GVA, READ).ret).toBe(RetPf.fixed);
    expect(isWritablePte(leafOf(guest, GVA)!.spte)).toBe(true);
    expect(violations(guest)).toEqual([expect.stringMatching(/^guest table 0x1 .* maps it writable$/)]);
  });
});

describe("roots", () => {
  it("the dummy root is replaced once the guest's root appears", () => {
    const { guest } = guestOf();
    guest.load(longMode({ cr3: 0x9_0000_000 }));
    expect(guest.vcpu.rootMmu.rootHpa(guest.cpu)).toBe(guest.mmu.zeroPage(guest.cpu));
    expect(guest.fault(GVA, WRITE).guestFault).toMatchObject({ errorCode: WRITE });
    // The slot has the bytes of frames 0 to 15.
    guest.setRegion(1, 0x9_0000, 16, HOST_BASE, 0);
    const tables = new GuestTables(guest, 4, TABLE, 0);
    tables.map(GVA, 300, LEAF);
    const request = memberRequestsWord(guest.flushDomain, guest.vcpu.id);
    guest.cpu.writeOnce32(request, 0);
    expect(guest.fault(GVA, WRITE)).toMatchObject({ ret: RetPf.retry, guestFault: null });
    expect(guest.cpu.readOnce32(request)).toBe(REQUEST_MMU_FREE_OBSOLETE_ROOTS);
  });

  it("so is a PAE root without the table of an address", () => {
    const { guest } = guestOf(3);
    guest.poke(0x1008, (0x9_0000n << 12n) | P);
    guest.load(longMode({ eferLma: false }));
    guest.setRegion(1, 0x9_0000, 16, HOST_BASE, 0);
    // Directory at frame 0x90000, that is frame 0: entry 0 leads to table 2.
    guest.poke(0, (2n << 12n) | TABLE);
    guest.poke(0x2000, (300n << 12n) | LEAF);
    const request = memberRequestsWord(guest.flushDomain, guest.vcpu.id);
    expect(guest.fault(0x4000_0000, WRITE).ret).toBe(RetPf.retry);
    expect(guest.cpu.readOnce32(request) & REQUEST_MMU_FREE_OBSOLETE_ROOTS).not.toBe(0);
    expect(violations(guest)).toEqual([]);
  });
});

describe("nested", () => {
  const EPTP = 0x1000 + 6 + (3 << 3);
  const GPA = 0x1_2345_6000;
  const FINAL = 2 ** 32;

  function l1Ept(init: Partial<Parameters<typeof kvmInitShadowEptMmu>[3]> = {}, adBits = true) {
    const guest = new ShadowGuest({ mode: "ept", adBits });
    const tables = new GuestTables(guest, 4, EPT_RWX | EPT_A);
    guest.inSrcu(() => {
      kvmInitShadowEptMmu(guest.mmu, guest.cpu, guest.vcpu, { eptp: EPTP, ...init });
    });
    return { guest, tables };
  }

  it.each([true, false])("EPT: L1's pages for L2, A/D hardware %s", (adBits) => {
    const { guest, tables } = l1Ept({}, adBits);
    tables.map(GPA, 300, EPT_RWX | EPT_WB);
    guest.reload();
    expect(guest.fault(GPA, WRITE + FINAL).ret).toBe(RetPf.fixed);
    const leaf = leafOf(guest, GPA)!;
    expect(spteToPfn(guest.format, leaf.spte)).toBe(guest.host.pfnOf(300));
    expect(roleFields(linux73, spRole(guest.cpu, leaf.sp))).toMatchObject({
      guestMode: true,
      adDisabled: true,
    });
    expect(leaf.spte & (3n << 60n)).toBe(1n << 60n);
    expect(violations(guest)).toEqual([]);
  });

  it("EPT with A/D: bits are set in L1's tables", () => {
    const { guest, tables } = l1Ept({ eptp: EPTP + 64 });
    tables.map(GPA, 300, EPT_RWX | EPT_WB);
    guest.reload();
    guest.fault(GPA, WRITE + FINAL);
    expect(guest.peek(tables.entry(GPA, 1)) & (EPT_A | EPT_D)).toBe(EPT_A | EPT_D);
    expect(leafOf(guest, GPA)!.spte & (3n << 60n)).toBe(0n);
  });

  it.each([
    ["the final address", 2 ** 32, 0x18an],
    ["a table of L2's", 2 ** 33, 0x08an],
    ["no linear address", 0, 0x00an],
  ])("EPT violation for L1: %s", (_name, where, exitQualification) => {
    const { guest, tables } = l1Ept();
    tables.map(GPA, 300, EPT_R | EPT_WB);
    guest.reload();
    const { ret, guestFault } = guest.fault(GPA, WRITE + where);
    expect(ret).toBe(RetPf.retry);
    expect(guestFault).toMatchObject({ address: GPA, nested: true, exitQualification });
  });

  it("EPT misconfiguration for L1 has no qualification", () => {
    const { guest, tables } = l1Ept();
    tables.map(GPA, 300, 2n | EPT_WB);
    guest.reload();
    expect(guest.fault(GPA, WRITE + FINAL).guestFault).toEqual({
      address: GPA,
      errorCode: WRITE | RSVD | PRESENT,
      nested: true,
    });
  });

  it.each([
    [4, false, 4],
    [5, false, 5],
    [5, true, 5],
  ] as const)("NPT on %i host levels, five of L1's %s", (hostLevel, cr4La57, depth) => {
    const guest = new ShadowGuest({ mode: "npt", hostLevel });
    const tables = new GuestTables(guest, cr4La57 ? 5 : 4, P | W | U | A);
    tables.map(GPA, 300, LEAF);
    const npt = { nCr3: 0x1000, cr0Wp: true, eferNx: true, cr4La57 };
    guest.inSrcu(() => kvmInitShadowNptMmu(guest.mmu, guest.cpu, guest.vcpu, npt));
    const root = guest.reload();
    expect(root).not.toBe(NO_PAGE);
    expect(guest.fault(GPA, WRITE + USER + FINAL).ret).toBe(RetPf.fixed);
    const path = shadowPath(guest, GPA);
    expect(path).toHaveLength(depth);
    const passthrough = hostLevel === 5 && !cr4La57;
    const roles = path.map(({ sp }) => roleFields(linux73, spRole(guest.cpu, sp)).passthrough);
    expect(roles).toEqual(path.map((_, index) => passthrough && index === 0));
    expect(spteToPfn(guest.format, lastStep(guest, GPA).spte)).toBe(guest.host.pfnOf(300));
    expect(violations(guest)).toEqual([]);
    const fault = guest.fault(GPA + 0x1000, USER + FINAL).guestFault;
    expect(fault).toEqual({ address: GPA + 0x1000, errorCode: USER + FINAL, nested: true });
  });
});

describe("neighbours", () => {
  const map = (tables: GuestTables, flags: (page: number) => bigint) => {
    for (let page = 0; page < 8; page++) tables.map(0x40_0000 + page * 4096, 300 + page * 2, flags(page));
  };
  const mapped = (guest: ShadowGuest) =>
    Array.from({ length: 8 }, (_, page) => leafOf(guest, 0x40_0000 + page * 4096) !== null);

  it("that the guest used before are mapped with the page", () => {
    const { guest, tables, load } = guestOf();
    map(tables, () => LEAF);
    load();
    guest.fault(0x40_3000, WRITE);
    expect(mapped(guest)).toEqual(Array<boolean>(8).fill(true));
    expect(spteToPfn(guest.format, leafOf(guest, 0x40_6000)!.spte)).toBe(guest.host.pfnOf(312));
    expect(guest.host.released).toEqual({ unused: 0, clean: 0, dirty: 8 });
    expect(violations(guest)).toEqual([]);
  });

  it("up to the first that it did not use, or that is at fault", () => {
    const { guest, tables, load } = guestOf();
    map(tables, (page) => (page === 5 ? P | W | U : LEAF));
    load();
    guest.fault(0x40_3000, WRITE);
    expect(mapped(guest)).toEqual([true, true, true, true, true, false, false, false]);
  });

  it("clean ones are not writable", () => {
    const { guest, tables, load } = guestOf();
    map(tables, () => P | W | U | A);
    load();
    guest.fault(0x40_3000, WRITE);
    const writable = [0, 3, 7].map((page) => isWritablePte(leafOf(guest, 0x40_0000 + page * 4096)!.spte));
    expect(writable).toEqual([false, true, false]);
    expect(violations(guest)).toEqual([]);
  });

  it("that are unmapped now lose what was cached of them", () => {
    const { guest, tables, load } = guestOf();
    map(tables, (page) => (page === 4 ? 0n : LEAF));
    tables.map(0x40_4000, 0x9_0000, LEAF);
    load();
    guest.fault(0x40_4000, WRITE);
    expect(isMmioSpte(guest.format, lastStep(guest, 0x40_4000).spte)).toBe(true);
    // The guest changes its mind unseen, and has no flush to make: what it had was never in a TLB.
    guest.poke(tables.entry(0x40_4000, 1), 0n);
    guest.fault(0x40_3000, WRITE);
    expect(lastStep(guest, 0x40_4000).spte).toBe(SHADOW_NONPRESENT_VALUE);
    expect(violations(guest)).toEqual([]);
  });

  it("wait while any page is being invalidated", () => {
    const { guest, tables, load } = guestOf();
    map(tables, () => LEAF);
    load();
    const { memslots, cpu } = guest;
    guest.underWriteLock(() => {
      kvmMmuInvalidateStart(memslots, cpu);
      kvmMmuInvalidateRangeAdd(memslots, cpu, 304 as Gfn, 305 as Gfn);
    });
    expect(guest.fault(0x40_3000, WRITE).ret).toBe(RetPf.fixed);
    expect(mapped(guest).filter((isMapped) => isMapped)).toHaveLength(1);
    guest.underWriteLock(() => kvmMmuInvalidateEnd(memslots, cpu));
  });

  it("of a large page of the guest's are its own", () => {
    const { guest, tables, load } = guestOf();
    tables.map(0x20_0000, 0x400, LEAF | PS, 2);
    load();
    guest.fault(0x20_3000, WRITE);
    expect(spteToPfn(guest.format, leafOf(guest, 0x20_7000)!.spte)).toBe(guest.host.pfnOf(0x407));
    expect(leafOf(guest, 0x20_8000)).toBeNull();
    expect(violations(guest)).toEqual([]);
  });

  it("are left alone where the host has them not at hand", () => {
    const { guest, tables, load } = guestOf();
    guest.host.prefetchable = false;
    map(tables, () => LEAF);
    load();
    guest.fault(0x40_3000, WRITE);
    expect(mapped(guest).filter((isMapped) => isMapped)).toHaveLength(1);
  });
});

it("a guest that does not page is mapped linearly, by 2 MiB at most", () => {
  const guest = new ShadowGuest({ slotPages: 0x80000, hugeLevel: 3 });
  guest.load(longMode({ cr0Pg: false, eferLma: false }));
  expect(guest.fault(2 ** 30 + 0x5000, WRITE).ret).toBe(RetPf.fixed);
  const leaf = leafOf(guest, 2 ** 30 + 0x5000)!;
  expect([leaf.level, spteToPfn(guest.format, leaf.spte)]).toEqual([2, guest.host.pfnOf(0x40000)]);
  expect(violations(guest)).toEqual([]);
});

describe("quota and events", () => {
  it("roots that use up the quota end the fault with ENOSPC", () => {
    const { guest, tables, load } = guestOf();
    tables.map(GVA, 300, LEAF);
    load();
    guest.cpu.writeOnce32(guest.mmu.nMaxMmuPagesWord, 1);
    expect(guest.fault(GVA, WRITE)).toMatchObject({ ret: RetPf.error, errno: "ENOSPC" });
    expect(guest.host.released.unused + guest.host.released.dirty).toBe(1);
  });

  it("an owner that does not answer ends it with EFAULT", () => {
    const { guest, tables, load } = guestOf();
    tables.map(GVA, 300, LEAF);
    load();
    guest.host.missing.add(300);
    expect(guest.fault(GVA, WRITE)).toMatchObject({ ret: RetPf.error, errno: "EFAULT" });
  });

  it("one fault: walk, request, pages, leaf", () => {
    const events: TraceEvent[] = [];
    const { guest, tables, load } = guestOf();
    tables.map(GVA, 300, LEAF);
    load();
    const cpu = traceTo((_cpu, event) => void events.push(event))(guest.cpu);
    guest.fault(GVA, WRITE, guest.vcpu, cpu);
    expect(events.map(({ name }) => name)).toEqual([
      "kvm_mmu_pagetable_walk",
      ...Array<string>(4).fill("kvm_mmu_paging_element"),
      ...Array<string>(3).fill("kvm_mmu_get_page"),
      "kvm_mmu_spte_requested",
      "kvm_mmu_set_spte",
    ]);
    expect(events[8]!.fields).toEqual({
      gfn: 300,
      pfn: guest.host.pfnOf(300),
      level: 1,
      access: linux73.accAll,
    });
  });
});
