import { IN_GUEST_MODE, memberModeWord, OUTSIDE_GUEST_MODE, type TraceEvent } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import {
  ACCESS_EMULATE,
  ACCESS_FAILED,
  ACCESS_GUEST_PAGE_FAULT,
  type AccessKind,
  type CompleteGuestPagingState,
  GuestLinearAddressError,
  type GuestPagingIntercepts,
  type GuestPagingMode,
  injectPageFault,
  NothingToInjectError,
  readGuestPaging,
  type Vcpu,
} from "../src/index.js";
import { ACCESSED, DIRTY, gpaOf, LEAF_BITS, Rig } from "./support/rig.js";

const BOTH = ACCESSED.shadow | DIRTY.shadow;
const registers = { cr3: 0x9000, cr0Wp: true, eferNx: true, cr4Smep: false, cr4Smap: false, cr4Pcide: false };

function setUp(mode: GuestPagingMode = "4-level", controls: Partial<typeof registers> = {}) {
  const rig = new Rig("shadow", mode === "5-level" ? 5 : mode === "4-level" ? 4 : 3);
  const vcpu = rig.vcpu();
  vcpu.setGuestPaging(rig.cpu, { mode, ...registers, ...controls });
  return { rig, cpu: rig.cpu, vcpu };
}

const modes: [GuestPagingMode, number, number][] = [
  ["none", 3, 2 ** 32],
  ["pae", 3, 2 ** 32],
  ["4-level", 4, 2 ** 47],
  ["5-level", 5, 2 ** 53],
];

describe.each(modes)("a guest with paging %s", (mode, levels, limit) => {
  it(`walks ${levels} levels of host tables by the linear address`, () => {
    const { rig, cpu, vcpu } = setUp(mode);
    const last = limit / 4096 - 1;
    const leaf = rig.map(last, 0x100777);
    rig.map(0x400, 0x140000, 2);
    expect(vcpu.access(cpu, limit - 1, "user-write")).toBe(0x100777);
    expect(vcpu.access(cpu, gpaOf(last), "write")).toBe(0x100777);
    expect(vcpu.access(cpu, gpaOf(0x405), "read")).toBe(0x140005);
    expect(cpu.readOnce(leaf)).toBe((0x100777n << 12n) | LEAF_BITS.shadow | BOTH);
    for (let level = levels; level >= 2; level--) {
      const flagless = levels === 3 && level === 3;
      expect(cpu.readOnce(rig.entry(last, level)) & BOTH).toBe(flagless ? 0n : ACCESSED.shadow);
    }
    expect(vcpu.statistics(cpu)).toMatchObject({ misses: 2, hits: 1, faults: 0 });
    for (const address of [limit, -1, 0.5])
      expect(() => vcpu.access(cpu, address, "read")).toThrow(GuestLinearAddressError);
  });
});

describe("what a PDPTE may have", () => {
  it.each([1n << 1n, 1n << 2n, 1n << 5n, 1n << 7n, 1n << 8n, 1n << 46n, 1n << 52n, 1n << 63n])(
    "is not bit %x",
    (bit) => {
      const { rig, cpu, vcpu } = setUp("pae");
      rig.map(7, 0x100007);
      const pdpte = rig.entry(7, 3);
      expect(vcpu.access(cpu, gpaOf(7), "write")).toBe(0x100007);
      vcpu.flushTlb(cpu);
      cpu.writeOnce(pdpte, cpu.readOnce(pdpte) | bit);
      expect(vcpu.access(cpu, gpaOf(7), "write")).toBe(ACCESS_EMULATE);
      expect(rig.faults).toEqual([{ gpa: gpaOf(7), errorCode: 0xbn }]);
    },
  );
});

describe("faults are KVM's", () => {
  const absent: [AccessKind, bigint][] = [
    ["read", 0n],
    ["write", 2n],
    ["fetch", 0x10n],
    ["user-read", 4n],
    ["user-write", 6n],
    ["user-fetch", 0x14n],
  ];

  it.each(absent)("%s of an absent page: %x", (kind, errorCode) => {
    const { rig, cpu, vcpu } = setUp();
    expect(vcpu.access(cpu, 0x1a2c42008, kind)).toBe(ACCESS_EMULATE);
    const gpa = 0x1a2c42008;
    expect(rig.faults).toEqual([{ gpa, errorCode }]);
    expect(vcpu.lastFault(cpu)).toEqual({
      kind: "violation",
      gpa,
      hardwareCode: errorCode,
      errorCode,
      errno: null,
    });
    expect(vcpu.lastGuestFault(cpu)).toBe(null);
  });

  it("reports protection, reserved bits (MMIO), and runs with WP and NX whatever the guest has", () => {
    const { rig, cpu, vcpu } = setUp("4-level", { cr0Wp: false, eferNx: false });
    rig.map(1, 0x100001, 1, 0x5n);
    rig.map(2, 0x100002, 1, 0x7n | (1n << 63n));
    rig.map(3, 0x100003, 1, 0x3n);
    rig.map(4, 0x100004, 1, 0x7n | (1n << 51n));
    const codeOf = (gfn: number, kind: AccessKind): bigint | undefined => {
      const before = rig.faults.length;
      vcpu.access(cpu, gpaOf(gfn), kind);
      return rig.faults[before]?.errorCode;
    };
    expect(codeOf(1, "write")).toBe(3n);
    expect(codeOf(2, "fetch")).toBe(0x11n);
    expect(codeOf(3, "user-read")).toBe(5n);
    expect(codeOf(3, "write")).toBe(undefined);
    expect(codeOf(4, "user-write")).toBe(0xfn);
    expect(vcpu.lastFault(cpu)).toMatchObject({ kind: "misconfiguration", hardwareCode: 0xfn });
  });

  it("SMEP and SMAP are the guest's, and off while it does not page", () => {
    const on = setUp("pae", { cr4Smep: true, cr4Smap: true });
    const off = setUp("none", { cr4Smep: true, cr4Smap: true });
    for (const { rig } of [on, off]) rig.map(1, 0x100001);
    const results = ({ cpu, vcpu }: typeof on): number[] =>
      (["read", "write", "fetch", "user-read"] as const).map((kind) => vcpu.access(cpu, gpaOf(1), kind));
    expect(results(on)).toEqual([ACCESS_EMULATE, ACCESS_EMULATE, ACCESS_EMULATE, 0x100001]);
    expect(on.rig.faults.map(({ errorCode }) => errorCode)).toEqual([1n, 3n, 0x11n]);
    expect(results(off)).toEqual([0x100001, 0x100001, 0x100001, 0x100001]);
  });

  it("emits kvm_page_fault, for reserved bits as well", () => {
    const { rig, cpu, vcpu } = setUp();
    rig.map(4, 0x100004, 1, 0x7n | (1n << 51n));
    const events: TraceEvent[] = [];
    const trace = (event: TraceEvent): number => events.push(event);
    const tracing = Object.assign(Object.create(cpu), { tracing: true, trace });
    vcpu.access(tracing, gpaOf(4), "read");
    expect(events).toEqual([
      { name: "kvm_page_fault", fields: { vcpu: 0, rip: 0n, address: 0x4000n, error_code: 9n } },
    ]);
  });

  it("which it may inject into the guest", () => {
    const { rig, cpu, vcpu } = setUp();
    rig.onFault = (gva) => {
      injectPageFault(cpu, vcpu.handle, { gva, errorCode: 0x15 });
      return "inject";
    };
    expect(vcpu.access(cpu, 0x5678, "user-fetch")).toBe(ACCESS_GUEST_PAGE_FAULT);
    expect(vcpu.lastGuestFault(cpu)).toEqual({ gva: 0x5678, errorCode: 0x15 });
    expect(vcpu.statistics(cpu)).toMatchObject({ faults: 1, guestPageFaults: 1 });
    expect(cpu.readOnce32(memberModeWord(rig.flushDomain, 0))).toBe(OUTSIDE_GUEST_MODE);
    rig.onFault = () => ({ errno: "EFAULT" });
    expect(vcpu.access(cpu, 0x5678, "read")).toBe(ACCESS_FAILED);
    rig.onFault = () => "inject";
    expect(() => vcpu.access(cpu, 0x5678, "read")).toThrow(NothingToInjectError);
  });
});

/** Notes what it is told, where the vCPU was then, and what its registers said. */
class Intercepts implements GuestPagingIntercepts {
  vcpu!: Vcpu;
  readonly calls: [string, ...unknown[]][] = [];
  readonly states: CompleteGuestPagingState[] = [];

  constructor(private readonly rig: Rig<"shadow" | "ept">) {}

  loadCr3(_cpu: unknown, noFlush: boolean): void {
    this.note("loadCr3", noFlush);
  }
  invlpg(_cpu: unknown, gva: number): void {
    this.note("invlpg", gva);
  }
  flushGuestTlb(): void {
    this.note("flushGuestTlb");
  }
  pagingChanged(): void {
    this.note("pagingChanged");
  }

  private note(...call: [string, ...unknown[]]): void {
    const { cpu, flushDomain } = this.rig;
    expect(cpu.readOnce32(memberModeWord(flushDomain, 0))).toBe(OUTSIDE_GUEST_MODE);
    this.calls.push(call);
    this.states.push(readGuestPaging(cpu, this.vcpu.handle));
  }
}

describe("intercepts", () => {
  function intercepted() {
    const rig = new Rig("shadow");
    const intercepts = new Intercepts(rig);
    const vcpu = rig.vcpu({}, { intercepts });
    intercepts.vcpu = vcpu;
    rig.map(1, 0x100001);
    vcpu.setGuestPaging(rig.cpu, { mode: "4-level", ...registers, cr4Pcide: true });
    const enter = (): number => vcpu.access(rig.cpu, gpaOf(1), "read");
    return { rig, cpu: rig.cpu, intercepts, vcpu, enter };
  }

  it("are called outside the guest, with the new registers in place", () => {
    const { rig, cpu, intercepts, vcpu, enter } = intercepted();
    expect(intercepts.calls).toEqual([["pagingChanged"]]);
    expect(intercepts.states[0]).toEqual({ mode: "4-level", ...registers, cr4Pcide: true, pcid: 0 });
    enter();
    vcpu.loadCr3(cpu, 0xa000, { pcid: 5, noFlush: true });
    expect(vcpu.guestPaging(cpu)).toEqual({ ...intercepts.states[0], cr3: 0xa000, pcid: 5 });
    enter();
    vcpu.invlpg(cpu, 0x1234);
    enter();
    vcpu.flushGuestTlb(cpu);
    expect(intercepts.calls.slice(1)).toEqual([["loadCr3", true], ["invlpg", 0x1234], ["flushGuestTlb"]]);
    for (const state of intercepts.states.slice(1)) expect(state).toEqual(vcpu.guestPaging(cpu));
    enter();
    expect(cpu.readOnce32(memberModeWord(rig.flushDomain, 0))).toBe(IN_GUEST_MODE);
  });

  it("are all that happens: the hardware drops nothing, the MMU does", () => {
    const { rig, cpu, vcpu, enter } = intercepted();
    const leaf = rig.map(1, 0x100001);
    enter();
    cpu.writeOnce(leaf, (0x100002n << 12n) | LEAF_BITS.shadow);
    vcpu.loadCr3(cpu, 0xa000);
    vcpu.invlpg(cpu, gpaOf(1));
    vcpu.flushGuestTlb(cpu);
    expect(enter()).toBe(0x100001);
    vcpu.exitGuest(cpu);
    vcpu.flushTlbGva(cpu, gpaOf(2));
    expect(enter()).toBe(0x100001);
    vcpu.exitGuest(cpu);
    vcpu.flushTlbGva(cpu, gpaOf(1) + 5);
    expect(enter()).toBe(0x100002);
  });

  it("are not called over EPT", () => {
    const rig = new Rig("ept");
    const intercepts = new Intercepts(rig);
    const vcpu = rig.vcpu({}, { intercepts });
    vcpu.setGuestPaging(rig.cpu, { mode: "4-level", ...registers });
    vcpu.loadCr3(rig.cpu, 0xa000);
    vcpu.invlpg(rig.cpu, 0);
    vcpu.flushGuestTlb(rig.cpu);
    expect(intercepts.calls).toEqual([]);
  });
});
