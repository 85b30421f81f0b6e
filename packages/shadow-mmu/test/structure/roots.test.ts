import { type Address, memberRequestsWord } from "@kvm-age/machine";
import { kvmMemslotsHaveRmaps, kvmShadowRootAllocated } from "@kvm-age/memslot";
import { makeRole, roleFields, type Spte, spteToPfn } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import {
  type KvmMmuPage,
  NO_PAGE,
  spGfn,
  spRole,
  spSpt,
  writeFloodingCountWord,
} from "../../src/page/kvm-mmu-page.js";
import { sptepToSp } from "../../src/page/sptep-to-sp.js";
import { makeCpuRole } from "../../src/role/kvm-cpu-role.js";
import { handleShadowMmuRequests } from "../../src/root/handle-shadow-mmu-requests.js";
import { kvmMmuFreeObsoleteRoots } from "../../src/root/kvm-mmu-free-obsolete-roots.js";
import {
  KVM_MMU_ROOT_CURRENT,
  KVM_MMU_ROOTS_ALL,
  kvmMmuFreeRoots,
  kvmMmuRootPrevious,
} from "../../src/root/kvm-mmu-free-roots.js";
import { kvmMmuLoad } from "../../src/root/kvm-mmu-load.js";
import { kvmMmuNewPgd } from "../../src/root/kvm-mmu-new-pgd.js";
import { kvmMmuUnload } from "../../src/root/kvm-mmu-unload.js";
import { paeRootEntryWord } from "../../src/root/pae-root.js";
import { rootSp } from "../../src/root/root-sp.js";
import { initContext } from "../../src/vcpu/init-context.js";
import { kvmInitMmu } from "../../src/vcpu/kvm-init-mmu.js";
import { type KvmMmu, MmuKind } from "../../src/vcpu/kvm-mmu.js";
import { destroyShadowMmuVcpu } from "../../src/vcpu/shadow-mmu-vcpu.js";
import { P } from "../guest/kit/guest-tables.js";
import { longMode } from "../guest/kit/registers.js";
import { ShadowGuest } from "../kit/shadow-guest.js";
import {
  activePages,
  expectSound,
  getPage,
  indirectPages,
  isInvalid,
  LEAF,
  longModeGuest,
  nestedGuest,
  rootCount,
  usedPages,
  WRITE,
  zap,
} from "./kit/pages.js";

function field(guest: ShadowGuest, sp: KvmMmuPage) {
  return roleFields(guest.format.rules, spRole(guest.cpu, sp));
}

/** Values of the four PDPTEs of a three-level root. */
function pdptes(guest: ShadowGuest, context: KvmMmu = guest.vcpu.rootMmu): bigint[] {
  const paeRoot = guest.cpu.readOnce32(context.paeRootWord) as Address;
  return [0, 1, 2, 3].map((index) => guest.cpu.readOnce(paeRootEntryWord(paeRoot, index)));
}

function tableOf(guest: ShadowGuest, pdpte: bigint): KvmMmuPage {
  return sptepToSp(guest.mmu, guest.cpu, (spteToPfn(guest.format, pdpte as Spte) * 4096) as Address);
}

function requests(guest: ShadowGuest): number {
  return guest.cpu.readOnce32(memberRequestsWord(guest.flushDomain, 0));
}

const PAGING_OFF = longMode({ cr0Pg: false, cr4Pae: false, eferLma: false, eferNx: false });
const PAE = longMode({ eferLma: false, cr3: 0x1000 });

describe("kvm_mmu_load: linear roots", () => {
  it("of four levels, and of five", () => {
    for (const hostLevel of [4, 5] as const) {
      const guest = new ShadowGuest({ mode: "ept", hostLevel });
      const root = guest.load(longMode());
      expect(field(guest, root)).toMatchObject({ level: hostLevel, direct: true });
      expect([spGfn(guest.cpu, root), rootCount(guest, root), indirectPages(guest)]).toEqual([0, 1, 0]);
      expect(guest.vcpu.rootMmu.rootHpa(guest.cpu)).toBe(spSpt(guest.cpu, root));
      expectSound(guest);
    }
  });

  it("of three levels, for a guest without paging: four tables of a GiB each", () => {
    const guest = new ShadowGuest({ mode: "pae" });
    expect(guest.load(PAGING_OFF)).toBe(NO_PAGE);
    const tables = pdptes(guest).map((pdpte) => tableOf(guest, pdpte));
    expect(tables.map((sp) => spGfn(guest.cpu, sp))).toEqual([0, 1 << 18, 2 << 18, 3 << 18]);
    expect(tables.map((sp) => [field(guest, sp).level, field(guest, sp).direct])).toEqual(
      Array(4).fill([2, true]),
    );
    expect(pdptes(guest).map((pdpte) => pdpte & 0xfffn)).toEqual([1n, 1n, 1n, 1n]);
    expect(tables.map((sp) => rootCount(guest, sp))).toEqual([1, 1, 1, 1]);
    expect(guest.vcpu.rootMmu.rootHpa(guest.cpu)).toBe(guest.cpu.readOnce32(guest.vcpu.rootMmu.paeRootWord));
    guest.fault(0x5000, WRITE);
    // With its seven neighbours.
    expect(guest.statistic("pages_4k")).toBe(8);
    expectSound(guest);
    guest.inSrcu(() => kvmMmuUnload(guest.mmu, guest.cpu, guest.vcpu));
    expect([pdptes(guest), tables.map((sp) => rootCount(guest, sp))]).toEqual([
      [0n, 0n, 0n, 0n],
      [0, 0, 0, 0],
    ]);
    expectSound(guest);
  });

  it("are the TDP MMU's where there is one", () => {
    const guest = new ShadowGuest({ mode: "ept", tdpMmuEnabled: true });
    expect(() => guest.load(longMode())).toThrow(/direct root/);
  });
});

describe("kvm_mmu_load: roots that shadow the guest's", () => {
  it("of four levels", () => {
    const { guest, root, tables } = longModeGuest();
    expect(field(guest, root)).toMatchObject({ level: 4, direct: false });
    expect([spGfn(guest.cpu, root), rootCount(guest, root), indirectPages(guest)]).toEqual([
      tables.rootGfn,
      1,
      1,
    ]);
    expect(guest.cpu.readOnce(guest.vcpu.rootMmu.rootPgdWord)).toBe(BigInt(tables.rootGfn * 4096));
    expectSound(guest);
  });

  it("of five levels", () => {
    const guest = new ShadowGuest({ hostLevel: 5 });
    const root = guest.load(longMode({ cr4La57: true, cr3: 0x7000 }));
    expect([field(guest, root).level, spGfn(guest.cpu, root)]).toEqual([5, 7]);
    expectSound(guest);
  });

  it("of PAE: one table for each PDPTE that is present and leads into guest memory", () => {
    const guest = new ShadowGuest({ mode: "pae" });
    for (const [index, pdpte] of [0x2000n | P, 0x3000n, 0x4000n | P, 0x7fff_f000n | P].entries()) {
      guest.poke(0x1000 + index * 8, pdpte);
    }
    expect(guest.load(PAE)).toBe(NO_PAGE);
    const found = pdptes(guest);
    expect(found.map((pdpte) => pdpte !== 0n)).toEqual([true, false, true, false]);
    expect([found[0]!, found[2]!].map((pdpte) => spGfn(guest.cpu, tableOf(guest, pdpte)))).toEqual([2, 4]);
    expect(field(guest, tableOf(guest, found[0]!))).toMatchObject({ level: 2, direct: false, quadrant: 0 });
    expect(indirectPages(guest)).toBe(2);
    expectSound(guest);
    guest.inSrcu(() =>
      kvmMmuFreeRoots(guest.mmu, guest.cpu, guest.vcpu, guest.vcpu.rootMmu, KVM_MMU_ROOT_CURRENT),
    );
    expect(pdptes(guest)).toEqual([0n, 0n, 0n, 0n]);
  });

  it.each([4, 5] as const)("of PAE below hardware of %i levels", (hostLevel) => {
    const guest = new ShadowGuest({ mode: "npt", hostLevel });
    const { rules } = guest.format;
    const { cpu, vcpu, mmu } = guest;
    const common = { access: rules.accAll, guestMode: true, eferNx: true, cr0Wp: true };
    cpu.writeOnce32(vcpu.currentWord, vcpu.guestMmu.address);
    initContext(cpu, vcpu.guestMmu, {
      kind: MmuKind.nestedNpt,
      cpuRole: makeCpuRole(rules, makeRole(rules, { ...common, level: 3 }), { valid: true }),
      rootRole: makeRole(rules, { ...common, level: hostLevel }),
      guestPgd: 0x1000,
    });
    cpu.writeOnce(vcpu.guestMmu.pdptrWord(1), 0x5000n | P);
    guest.reload();
    const found = pdptes(guest, vcpu.guestMmu);
    // Present, writable, user, accessed: the array is an ordinary table to such hardware.
    expect(found.map((pdpte) => pdpte & 0xfffn)).toEqual([0n, 0x27n, 0n, 0n]);
    const frame = (word: Address): Address => cpu.readOnce32(word) as Address;
    const [pae, pml4, pml5] = [
      vcpu.guestMmu.paeRootWord,
      vcpu.guestMmu.pml4RootWord,
      vcpu.guestMmu.pml5RootWord,
    ].map(frame);
    expect(cpu.readOnce(pml4!)).toBe(BigInt(pae!) | 0x27n);
    expect(vcpu.guestMmu.rootHpa(cpu)).toBe(hostLevel === 4 ? pml4 : pml5);
    if (hostLevel === 5) expect(cpu.readOnce(pml5!)).toBe(BigInt(pml4!) | 0x27n);
    else expect(pml5).toBe(0);
    expect(spGfn(cpu, tableOf(guest, found[1]!))).toBe(5);
    expectSound(guest);
    guest.inSrcu(() => kvmMmuUnload(mmu, cpu, vcpu));
    expect([pdptes(guest, vcpu.guestMmu)[1], usedPages(guest)]).toEqual([0n, 1]);
  });

  it("outside every slot: the dummy root, which is never written", () => {
    const guest = new ShadowGuest();
    expect(guest.load(longMode({ cr3: 0x4000_0000 }))).toBe(NO_PAGE);
    expect(guest.vcpu.rootMmu.rootHpa(guest.cpu)).toBe(guest.mmu.zeroPage(guest.cpu));
    expect([usedPages(guest), guest.statistic("mmu_cache_miss")]).toEqual([0, 0]);
    guest.inSrcu(() => kvmMmuFreeObsoleteRoots(guest.mmu, guest.cpu, guest.vcpu));
    expect(guest.vcpu.rootMmu.rootHpa(guest.cpu)).toBe(0);
  });

  it("shared by vCPUs of one role", () => {
    const { guest, root, tables } = longModeGuest();
    const second = guest.addVcpu();
    expect(guest.load(longMode({ cr3: tables.rootGfn * 4096 }), second)).toBe(root);
    expect([rootCount(guest, root), usedPages(guest)]).toEqual([2, 1]);
    zap(guest, root);
    guest.inSrcu(() => kvmMmuFreeObsoleteRoots(guest.mmu, guest.cpu, second));
    expect([rootCount(guest, root), isInvalid(guest, root)]).toEqual([1, true]);
    expectSound(guest);
  });

  it("give a VM with the TDP MMU its rmaps and its hash, once", () => {
    const guest = new ShadowGuest({ mode: "npt", tdpMmuEnabled: true });
    const { memslots, cpu } = guest;
    const state = () => [kvmShadowRootAllocated(memslots, cpu), kvmMemslotsHaveRmaps(memslots, cpu)];
    expect(state()).toEqual([false, false]);
    const nested = nestedGuest({ tdpMmuEnabled: true });
    expect([
      kvmShadowRootAllocated(nested.guest.memslots, nested.guest.cpu),
      indirectPages(nested.guest),
    ]).toEqual([true, 1]);
    const hash = nested.guest.cpu.readOnce32(nested.guest.mmu.pageHashWord);
    getPage(nested.guest, 60, { level: 1 });
    nested.guest.inSrcu(() => kvmMmuUnload(nested.guest.mmu, nested.guest.cpu, nested.guest.vcpu));
    nested.guest.reload();
    expect(nested.guest.cpu.readOnce32(nested.guest.mmu.pageHashWord)).toBe(hash);
    expectSound(nested.guest);
  });

  it("of address space 1 in system-management mode", () => {
    const guest = new ShadowGuest();
    guest.setRegion(1 << 16, 0, 4096, 0x7f0000000000 as never, 0);
    guest.cpu.writeOnce32(guest.vcpu.inSmmWord, 1);
    const root = guest.load(longMode());
    expect(field(guest, root).smm).toBe(1);
    expectSound(guest);
  });
});

describe("kvm_mmu_load", () => {
  it("does nothing with a root loaded", () => {
    const { guest } = longModeGuest();
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.inSrcu(() => kvmMmuLoad(guest.mmu, cpu, guest.vcpu))).toBe(true);
    expect(cpu.log).toEqual([]);
  });

  it("needs a context", () => {
    const guest = new ShadowGuest();
    expect(() => guest.reload()).toThrow(/kind of the context: 0/);
  });

  it("synchronises what it finds unsync", () => {
    const { guest, tables } = longModeGuest();
    tables.map(0x400000, 300, LEAF);
    guest.fault(0x400000, WRITE);
    const table = tables.tableGfn(0x400000, 1);
    tables.map(0x600000, table, LEAF);
    guest.fault(0x600000, WRITE);
    expect(guest.statistic("mmu_unsync")).toBe(1);
    guest.inSrcu(() => kvmMmuUnload(guest.mmu, guest.cpu, guest.vcpu));
    guest.reload();
    expect(guest.statistic("mmu_unsync")).toBe(0);
    expectSound(guest);
  });

  it("gives everything back when the vCPU goes", () => {
    const guest = new ShadowGuest({ mode: "pae" });
    const frames = guest.machine.frames.allocatedFrames(guest.cpu);
    const headers = guest.mmu.headers.allocatedObjects(guest.cpu);
    const second = guest.addVcpu();
    guest.load(PAGING_OFF, second);
    guest.inSrcu(() => kvmMmuUnload(guest.mmu, guest.cpu, second));
    destroyShadowMmuVcpu(guest.mmu, guest.cpu, second);
    for (const sp of activePages(guest)) zap(guest, sp);
    expect(guest.mmu.headers.allocatedObjects(guest.cpu)).toBe(headers);
    // Frames of slabs stay with them.
    const slabFrames = guest.machine.frames.allocatedFrames(guest.cpu) - frames;
    expect(slabFrames).toBeLessThanOrEqual(4);
  });
});

describe("previous roots", () => {
  /** Switches to the guest root at frame `gfn` and loads a root if none was remembered. Whether one was. */
  const switchTo = (guest: ShadowGuest, gfn: number): boolean => {
    const { mmu, cpu, vcpu } = guest;
    const found = guest.inSrcu(() => kvmMmuNewPgd(mmu, cpu, vcpu, vcpu.rootMmu, gfn * 4096));
    guest.reload();
    return found;
  };
  /** Frames of the current guest root and of the remembered ones. */
  const remembered = (guest: ShadowGuest): number[] => {
    const { cpu, vcpu } = guest;
    const words = [
      vcpu.rootMmu.rootHpaWord,
      ...[0, 1, 2].map((index) => vcpu.rootMmu.previousRootHpaWord(index)),
    ];
    return words.map((word) => {
      const hpa = cpu.readOnce32(word) as Address;
      return hpa === 0 ? 0 : spGfn(cpu, sptepToSp(guest.mmu, cpu, hpa));
    });
  };

  it("are three, the last one first", () => {
    const { guest } = longModeGuest();
    for (const gfn of [10, 11, 12]) expect(switchTo(guest, gfn)).toBe(false);
    expect(remembered(guest)).toEqual([12, 11, 10, 1]);
    expect(switchTo(guest, 13)).toBe(false);
    expect(remembered(guest)).toEqual([13, 12, 11, 10]);
    expectSound(guest);
  });

  it("are rotated to the front", () => {
    const { guest } = longModeGuest();
    for (const gfn of [10, 11, 12]) switchTo(guest, gfn);
    expect([switchTo(guest, 12), remembered(guest)]).toEqual([true, [12, 11, 10, 1]]);
    expect([switchTo(guest, 11), remembered(guest)]).toEqual([true, [11, 12, 10, 1]]);
    expect([switchTo(guest, 1), remembered(guest)]).toEqual([true, [1, 11, 12, 10]]);
    expect([switchTo(guest, 12), remembered(guest)]).toEqual([true, [12, 1, 11, 10]]);
  });

  it("close up without a current root", () => {
    const { guest } = longModeGuest();
    const { mmu, cpu, vcpu } = guest;
    for (const gfn of [10, 11, 12]) switchTo(guest, gfn);
    guest.inSrcu(() => kvmMmuFreeRoots(mmu, cpu, vcpu, vcpu.rootMmu, KVM_MMU_ROOT_CURRENT));
    expect([switchTo(guest, 10), remembered(guest)]).toEqual([true, [10, 11, 1, 0]]);
    guest.inSrcu(() =>
      kvmMmuFreeRoots(mmu, cpu, vcpu, vcpu.rootMmu, KVM_MMU_ROOT_CURRENT | kvmMmuRootPrevious(0)),
    );
    expect([switchTo(guest, 11), remembered(guest)]).toEqual([false, [11, 0, 1, 0]]);
  });

  it("forget write flooding and the cached MMIO address", () => {
    const { guest, root } = longModeGuest();
    const { cpu, vcpu } = guest;
    switchTo(guest, 10);
    cpu.writeOnce32(writeFloodingCountWord(root), 2);
    cpu.writeOnce(vcpu.mmioGvaWord, 0x1000n);
    switchTo(guest, 1);
    expect([cpu.readOnce32(writeFloodingCountWord(root)), cpu.readOnce(vcpu.mmioGvaWord)]).toEqual([0, 0n]);
    expect(rootSp(guest.mmu, cpu, vcpu.rootMmu)).toBe(root);
  });

  it("are told apart by all bits of the register", () => {
    const { guest } = longModeGuest();
    const { mmu, cpu, vcpu } = guest;
    expect(guest.inSrcu(() => kvmMmuNewPgd(mmu, cpu, vcpu, vcpu.rootMmu, 0x1018))).toBe(false);
    guest.reload();
    expect(remembered(guest)).toEqual([1, 1, 0, 0]);
  });

  it("are not used for another role, nor after a zap", () => {
    const { guest, tables } = longModeGuest();
    const { mmu, cpu, vcpu } = guest;
    switchTo(guest, 10);
    guest.inSrcu(() => kvmInitMmu(mmu, cpu, vcpu, longMode({ cr3: 0xa000, cr0Wp: false })));
    expect(switchTo(guest, tables.rootGfn)).toBe(false);
    expect(switchTo(guest, 10)).toBe(false);
    const current = rootSp(mmu, cpu, vcpu.rootMmu);
    zap(guest, current);
    expect(switchTo(guest, 10)).toBe(false);
    expect(rootSp(mmu, cpu, vcpu.rootMmu)).not.toBe(current);
    expectSound(guest);
  });

  it("never are dummy or three-level roots", () => {
    const { guest, root } = longModeGuest();
    switchTo(guest, 0x40000);
    expect(guest.vcpu.rootMmu.rootHpa(guest.cpu)).toBe(guest.mmu.zeroPage(guest.cpu));
    expect(switchTo(guest, 1)).toBe(true);
    expect([remembered(guest), rootSp(guest.mmu, guest.cpu, guest.vcpu.rootMmu)]).toEqual([
      [1, 0, 0, 0],
      root,
    ]);
    const pae = new ShadowGuest({ mode: "pae" });
    pae.load(PAE);
    switchTo(pae, 2);
    expect(pae.cpu.readOnce32(pae.vcpu.rootMmu.previousRootHpaWord(0))).toBe(0);
  });

  it("of a linear context are good for any register value", () => {
    const guest = new ShadowGuest({ mode: "ept" });
    const root = guest.load(longMode());
    expect(switchTo(guest, 77)).toBe(true);
    expect(rootSp(guest.mmu, guest.cpu, guest.vcpu.rootMmu)).toBe(root);
  });
});

describe("obsolete roots", () => {
  it("of both contexts, current and previous, are dropped on request", () => {
    const { guest, root } = longModeGuest();
    const { mmu, cpu, vcpu } = guest;
    guest.inSrcu(() => kvmMmuNewPgd(mmu, cpu, vcpu, vcpu.rootMmu, 0xa000));
    const current = guest.reload();
    zap(guest, root);
    expect(requests(guest) & 2).toBe(2);
    guest.inSrcu(() => handleShadowMmuRequests(mmu, cpu, vcpu, 2));
    expect(cpu.readOnce32(vcpu.rootMmu.previousRootHpaWord(0))).toBe(0);
    expect([rootSp(mmu, cpu, vcpu.rootMmu), usedPages(guest)]).toEqual([current, 1]);
    cpu.writeOnce32(mmu.mmuValidGenWord, 1);
    guest.inSrcu(() => handleShadowMmuRequests(mmu, cpu, vcpu, 2));
    expect(vcpu.rootMmu.rootHpa(cpu)).toBe(0);
  });

  it("are three-level roots always, since they have no page of their own", () => {
    const guest = new ShadowGuest({ mode: "pae" });
    guest.load(PAGING_OFF);
    guest.inSrcu(() => kvmMmuFreeObsoleteRoots(guest.mmu, guest.cpu, guest.vcpu));
    expect(guest.vcpu.rootMmu.rootHpa(guest.cpu)).toBe(0);
    guest.reload();
    expect(usedPages(guest)).toBe(4);
    expectSound(guest);
  });

  it("do not take mmu_lock if there are none", () => {
    const { guest } = longModeGuest();
    const cpu = new RecordingCpu(guest.cpu);
    guest.inSrcu(() => kvmMmuFreeObsoleteRoots(guest.mmu, cpu, guest.vcpu));
    guest.inSrcu(() => kvmMmuFreeRoots(guest.mmu, cpu, guest.vcpu, guest.vcpu.guestMmu, KVM_MMU_ROOTS_ALL));
    expect(cpu.only("write")).toEqual([]);
  });

  it("cannot be freed twice", () => {
    const { guest, root } = longModeGuest();
    const { mmu, cpu, vcpu } = guest;
    const second = guest.addVcpu();
    cpu.writeOnce32(second.rootMmu.rootHpaWord, spSpt(cpu, root));
    guest.inSrcu(() => kvmMmuUnload(mmu, cpu, vcpu));
    expect(() => guest.inSrcu(() => kvmMmuUnload(mmu, cpu, second))).toThrow(/root without a reference/);
  });
});
