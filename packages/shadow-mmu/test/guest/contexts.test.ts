import { memberRequestsWord, REQUEST_TLB_FLUSH } from "@kvm-age/machine";
import { REQUEST_MMU_SYNC } from "@kvm-age/page-fault";
import { linux73, linux615, roleFields } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { ShadowMmuConfigError } from "../../src/errors.js";
import { NO_PAGE } from "../../src/page/kvm-mmu-page.js";
import { rootSp } from "../../src/root/root-sp.js";
import { kvmInitMmu } from "../../src/vcpu/kvm-init-mmu.js";
import { kvmInitShadowEptMmu } from "../../src/vcpu/kvm-init-shadow-ept-mmu.js";
import { kvmInitShadowNptMmu } from "../../src/vcpu/kvm-init-shadow-npt-mmu.js";
import { type KvmMmu, MmuKind } from "../../src/vcpu/kvm-mmu.js";
import { kvmMmuResetContext } from "../../src/vcpu/kvm-mmu-reset-context.js";
import { type Cr3Load, kvmSetCr3 } from "../../src/vcpu/kvm-set-cr3.js";
import { loadRootMmu } from "../../src/vcpu/nested-context.js";
import { ShadowGuest, type ShadowGuestInit } from "../kit/shadow-guest.js";
import { longMode } from "./kit/registers.js";

const PAE = { eferLma: false };
const EPTP_4_LEVELS = 0x5000 + 6 + (3 << 3);

function init(guest: ShadowGuest, changes: Parameters<typeof longMode>[0] = {}): boolean {
  return guest.inSrcu(() => kvmInitMmu(guest.mmu, guest.cpu, guest.vcpu, longMode(changes)));
}

function rootRole(guest: ShadowGuest, context: KvmMmu) {
  return roleFields(guest.format.rules, context.rootRole(guest.cpu));
}

function pdpt(guest: ShadowGuest, gpa: number, entries: readonly bigint[]): void {
  for (const [index, entry] of entries.entries()) guest.poke(gpa + index * 8, entry);
}

describe("root_mmu", () => {
  it.each([
    ["no paging", { mode: "shadow" }, { cr0Pg: false, cr4Pae: false }, MmuKind.direct, 3],
    ["four levels", { mode: "shadow" }, {}, MmuKind.shadow, 4],
    ["five levels", { mode: "shadow" }, { cr4La57: true }, MmuKind.shadow, 5],
    ["PAE", { mode: "shadow" }, PAE, MmuKind.shadow, 3],
    ["two-dimensional paging", { mode: "ept" }, {}, MmuKind.direct, 4],
    ["the same on five levels", { mode: "npt", hostLevel: 5 }, {}, MmuKind.direct, 5],
    ["the same for a 32-bit guest", { mode: "npt" }, { ...PAE, cr4Pae: false }, MmuKind.direct, 4],
  ] as const)("%s", (_name, guestInit: ShadowGuestInit, changes, kind, level) => {
    const guest = new ShadowGuest(guestInit);
    expect(init(guest, changes)).toBe(true);
    expect(guest.vcpu.rootMmu.kind(guest.cpu)).toBe(kind);
    expect(rootRole(guest, guest.vcpu.rootMmu).level).toBe(level);
    expect(guest.cpu.readOnce(guest.vcpu.rootMmu.guestPgdWord)).toBe(0x1000n);
  });

  it.each([
    ["32-bit paging without PAE", { ...PAE, cr4Pae: false }, "cr4Pae: false is not true: paging without PAE"],
    ["long mode without PAE", { cr4Pae: false }, "cr4Pae: false is not true in long mode"],
    ["a CR3 that is no address", { cr3: 2 ** 52 }, "cr3: 4503599627370496 is not an integer in [0, 2^52)"],
  ])("refuses to shadow %s", (_name, changes, message) => {
    const guest = new ShadowGuest();
    expect(() => init(guest, changes)).toThrow(ShadowMmuConfigError);
    expect(() => init(guest, changes)).toThrow(message);
    expect(guest.vcpu.rootMmu.kind(guest.cpu)).toBe(MmuKind.none);
  });

  it("follows system-management mode", () => {
    const guest = new ShadowGuest();
    guest.cpu.writeOnce32(guest.vcpu.inSmmWord, 1);
    init(guest);
    expect(rootRole(guest, guest.vcpu.rootMmu).smm).toBe(1);
  });

  it("a change of mode drops the roots", () => {
    const guest = new ShadowGuest();
    guest.load(longMode());
    guest.inSrcu(() => kvmMmuResetContext(guest.mmu, guest.cpu, guest.vcpu, longMode({ cr4Smep: true })));
    expect(guest.vcpu.rootMmu.rootHpa(guest.cpu)).toBe(0);
    expect(rootRole(guest, guest.vcpu.rootMmu).cr4Smep).toBe(true);
    expect(guest.reload()).not.toBe(NO_PAGE);
  });
});

describe("PDPTEs", () => {
  const pdptrs = (guest: ShadowGuest) =>
    [0, 1, 2, 3].map((index) => guest.cpu.readOnce(guest.vcpu.rootMmu.pdptrWord(index)));

  it("are loaded with the mode, from a table aligned to 32 bytes", () => {
    const guest = new ShadowGuest();
    pdpt(guest, 0x1fe0, [0x2001n, 0n, 0x3001n, 0x4000n]);
    expect(init(guest, { ...PAE, cr3: 0x1fe0 + 0x18 })).toBe(true);
    expect(pdptrs(guest)).toEqual([0x2001n, 0n, 0x3001n, 0x4000n]);
  });

  it.each([
    ["bit 1", 0x2003n],
    ["bit 5", 0x2021n],
    ["bit 8", 0x2101n],
    ["an address bit beyond MAXPHYADDR", (1n << 46n) | 1n],
    ["bit 63", (1n << 63n) | 1n],
  ])("with %s are refused: #GP, and nothing changes", (_name, entry) => {
    const guest = new ShadowGuest();
    pdpt(guest, 0x1000, [0x2001n, entry]);
    expect(init(guest, PAE)).toBe(false);
    expect(guest.vcpu.rootMmu.kind(guest.cpu)).toBe(MmuKind.none);
    expect(pdptrs(guest)).toEqual([0n, 0n, 0n, 0n]);
  });

  it("reserved bits of an entry that is not present do not count", () => {
    const guest = new ShadowGuest();
    pdpt(guest, 0x1000, [0x2001n, 0x1fen]);
    expect(init(guest, PAE)).toBe(true);
  });

  it("outside every slot are refused", () => {
    const guest = new ShadowGuest();
    expect(init(guest, { ...PAE, cr3: 0xfff_f000 })).toBe(false);
  });

  it("a load that changes one drops the current root, another keeps it", () => {
    const guest = new ShadowGuest();
    pdpt(guest, 0x1000, [0x2001n]);
    guest.load(longMode(PAE));
    const hpa = guest.vcpu.rootMmu.rootHpa(guest.cpu);
    const load = () => guest.inSrcu(() => kvmSetCr3(guest.mmu, guest.cpu, guest.vcpu, { cr3: 0x1000 }));
    expect(load()).toBe(true);
    expect(guest.vcpu.rootMmu.rootHpa(guest.cpu)).toBe(hpa);
    guest.poke(0x1008, 0x3001n);
    expect(load()).toBe(true);
    expect(guest.vcpu.rootMmu.rootHpa(guest.cpu)).toBe(0);
    guest.poke(0x1010, 0x3003n);
    expect(load()).toBe(false);
    expect(pdptrs(guest)).toEqual([0x2001n, 0x3001n, 0n, 0n]);
  });
});

describe("loads of CR3", () => {
  const setup = () => {
    const guest = new ShadowGuest();
    guest.load(longMode({ cr3: 0x1000 }));
    const { cpu } = guest;
    const requests = memberRequestsWord(guest.flushDomain, 0);
    cpu.writeOnce32(requests, 0);
    const set = (load: Cr3Load) => guest.inSrcu(() => kvmSetCr3(guest.mmu, cpu, guest.vcpu, load));
    return { guest, requests, set, root: () => rootSp(guest.mmu, cpu, guest.vcpu.rootMmu) };
  };

  it("ask for a sync and a flush, even of the same value", () => {
    const { guest, requests, set, root } = setup();
    const sp = root();
    expect(set({ cr3: 0x1000 })).toBe(true);
    expect(root()).toBe(sp);
    expect(guest.cpu.readOnce32(requests)).toBe(REQUEST_MMU_SYNC | REQUEST_TLB_FLUSH);
  });

  it("go back to a cached root without a flush if the guest says so", () => {
    const { guest, requests, set, root } = setup();
    const first = root();
    set({ cr3: 0x2001, pcide: true, noFlush: true });
    expect(root()).toBe(NO_PAGE);
    guest.reload();
    expect(root()).not.toBe(first);
    set({ cr3: 0x1000, pcide: true, noFlush: true });
    expect(root()).toBe(first);
    expect(guest.cpu.readOnce32(requests)).toBe(0);
  });

  it("with a flush drop the cached roots of the same PCID", () => {
    const { guest, set } = setup();
    const previous = () =>
      [0, 1, 2].map((index) => guest.cpu.readOnce32(guest.vcpu.rootMmu.previousRootHpaWord(index)));
    set({ cr3: 0x2000, pcide: true });
    guest.reload();
    expect(previous()).toEqual([0, 0, 0]);
    set({ cr3: 0x3001, pcide: true });
    expect(previous().filter((hpa) => hpa !== 0)).toHaveLength(1);
  });

  it.each([2 ** 46, -1, 1.5])("refuse %d", (cr3) => {
    const { guest, set } = setup();
    expect(set({ cr3 })).toBe(false);
    expect(guest.cpu.readOnce(guest.vcpu.rootMmu.guestPgdWord)).toBe(0x1000n);
  });

  it("only keep the value where hardware walks the guest's tables", () => {
    const guest = new ShadowGuest({ mode: "ept" });
    const root = guest.load(longMode());
    expect(kvmSetCr3(guest.mmu, guest.cpu, guest.vcpu, { cr3: 0x7000 })).toBe(true);
    expect(rootSp(guest.mmu, guest.cpu, guest.vcpu.rootMmu)).toBe(root);
    expect(guest.cpu.readOnce(guest.vcpu.rootMmu.guestPgdWord)).toBe(0x7000n);
  });
});

describe("guest_mmu", () => {
  it("EPT: levels and A/D of EPTP; entry and exit switch contexts and keep both roots", () => {
    const guest = new ShadowGuest({ mode: "ept", hostLevel: 5 });
    const { mmu, cpu, vcpu } = guest;
    const l1Root = guest.load(longMode());
    const eptp = 0x5000 + 6 + (4 << 3) + (1 << 6);
    guest.inSrcu(() => kvmInitShadowEptMmu(mmu, cpu, vcpu, { eptp, executeOnly: true }));
    expect(vcpu.current(cpu)).toBe(vcpu.guestMmu);
    expect(vcpu.guestMmu.kind(cpu)).toBe(MmuKind.nestedEpt);
    expect(rootRole(guest, vcpu.guestMmu)).toMatchObject({ level: 5, adDisabled: false, guestMode: true });
    const l2Root = guest.reload();
    expect(l2Root).not.toBe(l1Root);
    loadRootMmu(cpu, vcpu);
    expect(rootSp(mmu, cpu, vcpu.current(cpu))).toBe(l1Root);
    guest.inSrcu(() => kvmInitShadowEptMmu(mmu, cpu, vcpu, { eptp, executeOnly: true }));
    expect(rootSp(mmu, cpu, vcpu.current(cpu))).toBe(l2Root);
  });

  it("another EPTP has another root; the first is remembered", () => {
    const guest = new ShadowGuest({ mode: "ept" });
    const { mmu, cpu, vcpu } = guest;
    const enter = (eptp: number) => {
      guest.inSrcu(() => kvmInitShadowEptMmu(mmu, cpu, vcpu, { eptp }));
      return rootSp(mmu, cpu, vcpu.guestMmu);
    };
    expect(enter(EPTP_4_LEVELS)).toBe(NO_PAGE);
    const first = guest.reload();
    expect(enter(EPTP_4_LEVELS + 0x1000)).toBe(NO_PAGE);
    guest.reload();
    expect(enter(EPTP_4_LEVELS)).toBe(first);
    // The same tables without A and D are another root role.
    expect(enter(EPTP_4_LEVELS + (1 << 6))).toBe(NO_PAGE);
  });

  it.each([
    ["three levels", { eptp: 0x5000 + 6 + (2 << 3) }, {}, "levels of eptp: 3 is not 4 or 5"],
    ["more levels than the host", { eptp: 0x5000 + 6 + (4 << 3) }, {}, "levels of eptp: 5 is not at most 4"],
    [
      "A/D without hardware",
      { eptp: EPTP_4_LEVELS + 64 },
      { adBits: false },
      "bit 6 of eptp: 1 is not 0 on a host without A/D bits",
    ],
    ["an address out of range", { eptp: 2 ** 52 }, {}, "eptp: 4503599627370496 is not an integer"],
    [
      "mode-based control in 6.15",
      { eptp: EPTP_4_LEVELS, modeBasedExecute: true },
      { ruleSet: linux615 },
      "modeBasedExecute: true is not false under linux-6.15",
    ],
    [
      "execute-only entries that the host does not have (6.15)",
      { eptp: EPTP_4_LEVELS, executeOnly: true },
      { ruleSet: linux615 },
      "executeOnly: true is not false on a host without execute-only entries",
    ],
    ["another vendor", { eptp: EPTP_4_LEVELS }, { mode: "npt" }, "format.mode: npt is not ept"],
  ] as const)("EPT refuses %s", (_name, ept, guestInit: ShadowGuestInit, message) => {
    const guest = new ShadowGuest({ mode: "ept", ...guestInit });
    expect(() => kvmInitShadowEptMmu(guest.mmu, guest.cpu, guest.vcpu, ept)).toThrow(message);
    expect(guest.vcpu.current(guest.cpu)).toBe(guest.vcpu.rootMmu);
  });

  it.each([
    [4, false, false],
    [5, false, true],
    [5, true, false],
  ] as const)("NPT on %i host levels, L1 with LA57 %s", (hostLevel, cr4La57, passthrough) => {
    const guest = new ShadowGuest({ mode: "npt", hostLevel });
    const npt = { nCr3: 0x5000, cr0Wp: true, eferNx: true, cr4La57 };
    guest.inSrcu(() => kvmInitShadowNptMmu(guest.mmu, guest.cpu, guest.vcpu, npt));
    const expected = { level: hostLevel, passthrough, guestMode: true, direct: false };
    expect(rootRole(guest, guest.vcpu.guestMmu)).toMatchObject(expected);
    expect(guest.reload()).not.toBe(NO_PAGE);
  });

  it("NPT: what the SMEP bit means depends on the kernel", () => {
    const role = (ruleSet: typeof linux73, changes: object) => {
      const guest = new ShadowGuest({ mode: "npt", ruleSet });
      const npt = { nCr3: 0x5000, cr0Wp: false, eferNx: true, ...changes };
      guest.inSrcu(() => kvmInitShadowNptMmu(guest.mmu, guest.cpu, guest.vcpu, npt));
      return rootRole(guest, guest.vcpu.guestMmu);
    };
    expect(role(linux73, { cr4Smep: true }).cr4Smep).toBe(false);
    expect(role(linux73, { guestModeExecuteTrap: true }).cr4Smep).toBe(true);
    expect(role(linux615, { cr4Smep: true }).smepAndnotWp).toBe(true);
    expect(() => role(linux615, { guestModeExecuteTrap: true })).toThrow(
      "guestModeExecuteTrap: true is not false",
    );
  });

  it.each([
    ["five levels on four", { cr4La57: true }, "npt", "cr4La57: true is not false on a host of 4 levels"],
    ["an address out of range", { nCr3: 2 ** 52 }, "npt", "nCr3: 4503599627370496 is not an integer"],
    ["another vendor", {}, "ept", "format.mode: ept is not npt"],
  ] as const)("NPT refuses %s", (_name, changes, mode, message) => {
    const guest = new ShadowGuest({ mode });
    const npt = { nCr3: 0x5000, cr0Wp: true, eferNx: true, ...changes };
    expect(() => kvmInitShadowNptMmu(guest.mmu, guest.cpu, guest.vcpu, npt)).toThrow(message);
  });
});
