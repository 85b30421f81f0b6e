import type { TraceEvent } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import { ACCESS_EMULATE, ACCESS_FAILED, type AccessKind, type FaultErrno } from "../src/index.js";
import { FORMATS, type Format, gpaOf, LEAF_BITS, Rig } from "./support/rig.js";

const absent: [Format, AccessKind, bigint, bigint][] = [
  ["ept", "read", 0x181n, 0x1_0000_0000n],
  ["ept", "write", 0x182n, 0x1_0000_0002n],
  ["ept", "fetch", 0x184n, 0x1_0000_0010n],
  ["npt", "read", 0x1_0000_0004n, 0x1_0000_0004n],
  ["npt", "write", 0x1_0000_0006n, 0x1_0000_0006n],
  ["npt", "fetch", 0x1_0000_0014n, 0x1_0000_0014n],
];

const refused: [Format, AccessKind, bigint, bigint, bigint][] = [
  ["ept", "write", 0x35n, 0x1aan, 0x1_0000_0003n],
  ["ept", "fetch", 0x33n, 0x19cn, 0x1_0000_0011n],
  ["ept", "read", 0x34n, 0x1a1n, 0x1_0000_0001n],
  ["npt", "write", 0x5n, 0x1_0000_0007n, 0x1_0000_0007n],
  ["npt", "fetch", (1n << 63n) | 0x7n, 0x1_0000_0015n, 0x1_0000_0015n],
  ["npt", "read", 0x3n, 0x1_0000_0005n, 0x1_0000_0005n],
];

describe("error codes", () => {
  it.each(absent)(
    "%s: %s of an absent page: hardware %x, PFERR %x",
    (format, kind, hardwareCode, errorCode) => {
      const rig = new Rig(format);
      const vcpu = rig.vcpu();
      expect(vcpu.lastFault(rig.cpu)).toBe(null);
      expect(vcpu.access(rig.cpu, 0x1a2c42008, kind)).toBe(ACCESS_EMULATE);
      expect(vcpu.lastFault(rig.cpu)).toEqual({
        kind: "violation",
        gpa: 0x1a2c42008,
        hardwareCode,
        errorCode,
        errno: null,
      });
      expect(rig.faults).toEqual([{ gpa: 0x1a2c42008, errorCode }]);
    },
  );

  it("ept: a read is a user access for kernels up to 6.15", () => {
    const rig = new Rig("ept");
    const vcpu = rig.vcpu({ eptReadReportsUser: true });
    expect(vcpu.access(rig.cpu, gpaOf(3), "read")).toBe(ACCESS_EMULATE);
    expect(vcpu.lastFault(rig.cpu)).toMatchObject({ hardwareCode: 0x181n, errorCode: 0x1_0000_0004n });
    expect(() => new Rig("npt").vcpu({ eptReadReportsUser: true })).toThrow(/eptReadReportsUser/);
  });

  it.each(refused)(
    "%s: %s through leaf bits %x: hardware %x, PFERR %x",
    (format, kind, bits, hardwareCode, errorCode) => {
      const rig = new Rig(format);
      rig.map(3, 0x100003, 1, bits);
      const vcpu = rig.vcpu();
      expect(vcpu.access(rig.cpu, gpaOf(3), kind)).toBe(ACCESS_EMULATE);
      expect(vcpu.lastFault(rig.cpu)).toMatchObject({ kind: "violation", hardwareCode, errorCode });
    },
  );
});

const LEVEL_TABLE_BITS = 0x7n;
const misconfigured: [string, Format, number, bigint][] = [
  ["write without read", "ept", 1, 0x32n],
  ["write and execute without read (MMIO)", "ept", 1, 0x6n],
  ["memory type 2", "ept", 1, 0x17n],
  ["memory type 3", "ept", 1, 0x1fn],
  ["memory type 7", "ept", 1, 0x3fn],
  ["an address beyond MAXPHYADDR", "ept", 1, 0x37n | (1n << 46n)],
  ["a misaligned 2M page", "ept", 2, 0xb7n | (1n << 12n)],
  ["a misaligned 1G page", "ept", 3, 0xb7n | (1n << 29n)],
  ["a page at level 4", "ept", 4, 0xb7n],
  ["a reserved bit in a table entry", "ept", 2, LEVEL_TABLE_BITS | (1n << 3n)],
  ["bit 51 (MMIO)", "npt", 1, 0x1n | (1n << 51n)],
  ["an address beyond MAXPHYADDR", "npt", 1, 0x7n | (1n << 48n)],
  ["a misaligned 2M page", "npt", 2, 0x87n | (1n << 13n)],
  ["a misaligned 1G page", "npt", 3, 0x87n | (1n << 29n)],
  ["a page at level 4", "npt", 4, 0x87n],
  ["bit 8 in a level-3 table entry", "npt", 3, LEVEL_TABLE_BITS | (1n << 8n)],
];

describe("misconfiguration", () => {
  it.each(misconfigured)("%s (%s, level %i) is refused", (_what, format, level, value) => {
    const rig = new Rig(format);
    rig.cpu.writeOnce(rig.entry(3, level), value);
    const vcpu = rig.vcpu();
    expect(vcpu.access(rig.cpu, gpaOf(3), "read")).toBe(ACCESS_EMULATE);
    const fault = vcpu.lastFault(rig.cpu)!;
    expect(fault.kind).toBe("misconfiguration");
    expect(fault.errorCode).toBe(format === "ept" ? 0x8n : 0x1_0000_000dn);
    expect(fault.hardwareCode).toBe(format === "ept" ? 0n : 0x1_0000_000dn);
    expect(rig.cpu.readOnce(rig.entry(3, level))).toBe(value);
  });

  it("of an execute-only entry depends on the processor", () => {
    const rig = new Rig("ept");
    rig.map(3, 0x100003, 1, 0x34n);
    expect(rig.vcpu().access(rig.cpu, gpaOf(3), "fetch")).toBe(0x100003);
    const without = rig.vcpu({ executeOnly: false });
    expect(without.access(rig.cpu, gpaOf(3), "fetch")).toBe(ACCESS_EMULATE);
    expect(without.lastFault(rig.cpu)!.kind).toBe("misconfiguration");
  });
});

describe.each(FORMATS)("delivery on %s", (format) => {
  it("repeats the access until the MMU has mapped the page", () => {
    const rig = new Rig(format);
    let patience = 3;
    rig.onFault = () => {
      if (--patience === 0) rig.map(9, 0x100009);
      return "retry";
    };
    const vcpu = rig.vcpu();
    expect(vcpu.access(rig.cpu, gpaOf(9), "write")).toBe(0x100009);
    expect(rig.faults.length).toBe(3);
    expect(vcpu.statistics(rig.cpu)).toMatchObject({ accesses: 1, misses: 1, walks: 4, faults: 3, hits: 0 });
  });

  it.each<FaultErrno>(["ENOMEM", "EFAULT", "EHWPOISON"])("ends with %s", (errno) => {
    const rig = new Rig(format);
    rig.onFault = () => ({ errno });
    const vcpu = rig.vcpu();
    expect(vcpu.access(rig.cpu, gpaOf(9), "read")).toBe(ACCESS_FAILED);
    expect(vcpu.lastFault(rig.cpu)!.errno).toBe(errno);
    rig.onFault = () => "emulate";
    vcpu.access(rig.cpu, gpaOf(9), "read");
    expect(vcpu.lastFault(rig.cpu)!.errno).toBe(null);
  });

  it("drops the stale translation of a page that faults", () => {
    const rig = new Rig(format);
    const leaf = rig.map(9, 0x100009, 1, LEAF_BITS[format] & ~2n);
    const vcpu = rig.vcpu();
    expect(vcpu.access(rig.cpu, gpaOf(9), "read")).toBe(0x100009);
    expect(vcpu.access(rig.cpu, gpaOf(9), "write")).toBe(ACCESS_EMULATE);
    rig.cpu.writeOnce(leaf, 0n);
    expect(vcpu.access(rig.cpu, gpaOf(9), "read")).toBe(ACCESS_EMULATE);
  });

  it("emits kvm_page_fault with the hardware's code", () => {
    const rig = new Rig(format);
    rig.cpu.writeOnce(rig.entry(4, 1), format === "ept" ? 0x6n : 0x1n | (1n << 51n));
    const events: TraceEvent[] = [];
    const tracing = Object.assign(Object.create(rig.cpu), {
      tracing: true,
      trace: (event: TraceEvent) => events.push(event),
    });
    rig.vcpu();
    const vcpu = rig.vcpu();
    vcpu.access(tracing, 0x1a2c42000, "write");
    vcpu.access(tracing, gpaOf(4), "read");
    const misconfiguration = { vcpu: 1, rip: 0n, address: 0x4000n, error_code: 0x1_0000_000dn };
    expect(events.map(({ name }) => name)).toEqual(events.map(() => "kvm_page_fault"));
    // An EPT misconfiguration is another exit, without this event.
    expect(events.map(({ fields }) => fields)).toEqual([
      { vcpu: 1, rip: 0n, address: 0x1a2c42000n, error_code: format === "ept" ? 0x182n : 0x1_0000_0006n },
      ...(format === "npt" ? [misconfiguration] : []),
    ]);
  });
});
