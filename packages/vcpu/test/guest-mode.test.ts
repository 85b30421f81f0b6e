import {
  EXITING_GUEST_MODE,
  flushesSentWord,
  flushRequestsWord,
  IN_GUEST_MODE,
  memberCountWord,
  memberModeWord,
  memberRequestsWord,
  OUTSIDE_GUEST_MODE,
  REQUEST_TLB_FLUSH,
} from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import {
  attachVcpu,
  FlushDomainFullError,
  RootNotLoadedError,
  UnsupportedPagingModeError,
} from "../src/index.js";
import { gpaOf, LEAF_BITS, Rig } from "./support/rig.js";

const OTHER_REQUEST = 2;

describe("the way in and out", () => {
  it("stays inside after an access, until exitGuest", () => {
    const rig = new Rig("ept");
    rig.map(1, 0x100001);
    const vcpu = rig.vcpu();
    const mode = memberModeWord(rig.flushDomain, 0);
    expect(rig.cpu.readOnce32(mode)).toBe(OUTSIDE_GUEST_MODE);
    vcpu.access(rig.cpu, gpaOf(1), "read");
    expect(rig.cpu.readOnce32(mode)).toBe(IN_GUEST_MODE);
    vcpu.exitGuest(rig.cpu);
    expect(rig.cpu.readOnce32(mode)).toBe(OUTSIDE_GUEST_MODE);
  });

  it("handles a fault outside and ends an emulated access outside", () => {
    const rig = new Rig("npt");
    const mode = memberModeWord(rig.flushDomain, 0);
    const modes: number[] = [];
    rig.onFault = () => {
      modes.push(rig.cpu.readOnce32(mode));
      return "emulate";
    };
    const vcpu = rig.vcpu();
    vcpu.access(rig.cpu, gpaOf(1), "read");
    expect([...modes, rig.cpu.readOnce32(mode)]).toEqual([OUTSIDE_GUEST_MODE, OUTSIDE_GUEST_MODE]);
  });
});

describe("a flusher on another processor", () => {
  it("is acknowledged by the interrupted vCPU's next access, which sees the new mapping", () => {
    const rig = new Rig("ept");
    const leaf = rig.map(1, 0x100001);
    const vcpu = rig.vcpu();
    expect(vcpu.access(rig.cpu, gpaOf(1), "read")).toBe(0x100001);
    const flusher = rig.machine.attach();
    const mode = memberModeWord(rig.flushDomain, 0);
    // What flushRemoteTlbs does up to its wait.
    flusher.writeOnce(leaf, (0x100777n << 12n) | LEAF_BITS.ept);
    flusher.fetchOr32(memberRequestsWord(rig.flushDomain, 0), REQUEST_TLB_FLUSH, "full");
    expect(flusher.cmpxchg32(mode, IN_GUEST_MODE, EXITING_GUEST_MODE, "full")).toBe(IN_GUEST_MODE);
    expect(vcpu.access(rig.cpu, gpaOf(1), "read")).toBe(0x100777);
    expect(flusher.loadAcquire32(mode)).toBe(IN_GUEST_MODE);
    expect(flusher.loadAcquire32(memberRequestsWord(rig.flushDomain, 0))).toBe(0);
    expect(vcpu.statistics(rig.cpu)).toMatchObject({ interrupts: 1, flushesServed: 1, misses: 2 });
  });

  it("is not noticed, as a request, before the interrupt", () => {
    const rig = new Rig("ept");
    const leaf = rig.map(1, 0x100001);
    const vcpu = rig.vcpu();
    vcpu.access(rig.cpu, gpaOf(1), "read");
    rig.cpu.writeOnce(leaf, 0n);
    rig.cpu.fetchOr32(memberRequestsWord(rig.flushDomain, 0), REQUEST_TLB_FLUSH, "full");
    expect(vcpu.access(rig.cpu, gpaOf(1), "read")).toBe(0x100001);
    vcpu.exitGuest(rig.cpu);
    rig.onFault = () => "emulate";
    expect(vcpu.access(rig.cpu, gpaOf(1), "read")).toBeLessThan(0);
  });

  it("need not wait for a vCPU outside, which flushes before it enters", () => {
    const rig = new Rig("ept");
    const leaf = rig.map(1, 0x100001);
    const vcpu = rig.vcpu();
    vcpu.access(rig.cpu, gpaOf(1), "read");
    vcpu.exitGuest(rig.cpu);
    const flusher = rig.machine.attach();
    flusher.writeOnce(leaf, (0x100777n << 12n) | LEAF_BITS.ept);
    flusher.flushRemoteTlbs(rig.flushDomain, null);
    expect(flusher.readOnce32(flushRequestsWord(rig.flushDomain))).toBe(1);
    expect(flusher.readOnce32(flushesSentWord(rig.flushDomain))).toBe(0);
    expect(vcpu.access(rig.cpu, gpaOf(1), "read")).toBe(0x100777);
    expect(vcpu.statistics(rig.cpu)).toMatchObject({ interrupts: 0, flushesServed: 1 });
  });

  it("may come between the mode store and the request check: the vCPU goes out again", () => {
    const rig = new Rig("ept");
    rig.map(1, 0x100001);
    const vcpu = rig.vcpu();
    const { cpu } = rig;
    const mode = memberModeWord(rig.flushDomain, 0);
    const smpMb = cpu.smpMb.bind(cpu);
    let interrupted = false;
    cpu.smpMb = () => {
      smpMb();
      if (interrupted) return;
      interrupted = true;
      cpu.fetchOr32(memberRequestsWord(rig.flushDomain, 0), REQUEST_TLB_FLUSH | OTHER_REQUEST, "full");
      expect(cpu.cmpxchg32(mode, IN_GUEST_MODE, EXITING_GUEST_MODE, "full")).toBe(IN_GUEST_MODE);
    };
    expect(vcpu.access(cpu, gpaOf(1), "read")).toBe(0x100001);
    expect(rig.requests).toEqual([OTHER_REQUEST]);
    expect(vcpu.statistics(cpu).flushesServed).toBe(1);
    expect(cpu.readOnce32(mode)).toBe(IN_GUEST_MODE);
  });
});

describe("requests and roots", () => {
  it("hands the MMU its requests first; a root dropped by them is loaded, and old translations go", () => {
    const rig = new Rig("npt");
    rig.map(1, 0x100001);
    const oldRoot = rig.root;
    const vcpu = rig.vcpu();
    vcpu.access(rig.cpu, gpaOf(1), "read");
    vcpu.exitGuest(rig.cpu);
    rig.onRequests = () => rig.unloadRoot();
    rig.onLoad = () => {
      rig.root = rig.newTable();
      rig.map(1, 0x100042);
    };
    rig.cpu.fetchOr32(memberRequestsWord(rig.flushDomain, 0), 0x8000_0002, "full");
    expect(vcpu.access(rig.cpu, gpaOf(1), "read")).toBe(0x100042);
    expect(rig.requests).toEqual([0x8000_0002]);
    expect(rig.loads).toBe(1);
    expect(rig.root).not.toBe(oldRoot);
    expect(vcpu.statistics(rig.cpu).flushesServed).toBe(0);
  });

  it("fails if there is no root after load", () => {
    const rig = new Rig("ept");
    rig.unloadRoot();
    const vcpu = rig.vcpu();
    expect(() => vcpu.access(rig.cpu, gpaOf(1), "read")).toThrow(RootNotLoadedError);
    expect(rig.loads).toBe(1);
  });
});

describe("life", () => {
  it("numbers vCPUs in order and refuses one too many", () => {
    const rig = new Rig("ept");
    const members = Array.from({ length: 8 }, () => rig.vcpu().handle.member);
    expect(members).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(() => rig.vcpu()).toThrow(FlushDomainFullError);
    expect(rig.cpu.readOnce32(memberCountWord(rig.flushDomain))).toBe(8);
  });

  it("goes on through a cloned handle with the same TLB and statistics", () => {
    const rig = new Rig("ept");
    rig.map(1, 0x100001);
    const vcpu = rig.vcpu();
    vcpu.access(rig.cpu, gpaOf(1), "read");
    const again = attachVcpu(rig.machine, structuredClone(vcpu.handle), { mmu: rig });
    expect(again.access(rig.cpu, gpaOf(1), "read")).toBe(0x100001);
    expect(again.statistics(rig.cpu)).toMatchObject({ accesses: 2, hits: 1 });
  });

  it("gives its memory back", () => {
    const rig = new Rig("ept");
    rig.map(1, 0x100001);
    const before = rig.machine.frames.allocatedFrames(rig.cpu);
    const vcpu = rig.vcpu();
    vcpu.access(rig.cpu, gpaOf(1), "read");
    vcpu.destroy(rig.cpu);
    expect(rig.machine.frames.allocatedFrames(rig.cpu)).toBe(before);
    rig.cpu.flushRemoteTlbs(rig.flushDomain, null);
    expect(rig.cpu.readOnce32(flushesSentWord(rig.flushDomain))).toBe(0);
  });

  it.each([
    { pageFormat: "npt", adEnabled: false },
    { pageFormat: "npt", executeOnly: true },
    { pageFormat: "npt", modeBasedExecuteControl: true },
    { pageFormat: "ept", encryptionBit: 47 },
    { pageFormat: "npt", encryptionBit: 31 },
    { maxPhyAddr: 53 },
    { rootLevel: 3 as 4 },
  ] as const)("refuses %o", (init) => {
    const rig = new Rig("ept");
    expect(() => rig.vcpu(init)).toThrow(UnsupportedPagingModeError);
    expect(rig.cpu.readOnce32(memberCountWord(rig.flushDomain))).toBe(0);
  });

  it.each([-1, 2 ** 48, 1.5, Number.NaN])("refuses an access at %d", (gpa) => {
    const rig = new Rig("ept");
    expect(() => rig.vcpu().access(rig.cpu, gpa, "read")).toThrow(/not an integer in/);
  });
});
