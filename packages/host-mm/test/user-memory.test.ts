import type { SpinLock } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import { describe, expect, it } from "vitest";
import {
  HostOutOfMemoryError,
  MAPPING_WINDOW_START,
  UserAccessAlignmentError,
  UserAccessValueError,
} from "../src/index.js";
import { PAGE_ACCESSED, PAGE_DIRTY } from "../src/page-table/pte.js";
import { at, type Host, HUGE, makeHost, PAGE, pteWord } from "./support.js";

const UPPER = 0xffffffffn;

function makeBacked(pages: number, writable = true): { host: Host; base: Hva } {
  const host = makeHost();
  return { host, base: host.hostMm.mmapBacked(host.cpu, pages * PAGE, { writable }) };
}

function byteAt(base: Hva, bytes: number): Hva {
  return (base + bytes) as Hva;
}

/** Accessed and Dirty of a PTE, which are then cleared. */
function takeBits(host: Host, hva: Hva): string {
  const before = host.cpu.fetchAnd(
    pteWord(host, hva),
    ~(PAGE_ACCESSED | PAGE_DIRTY) & (2n ** 64n - 1n),
    "full",
  );
  return `${(before & PAGE_ACCESSED) === 0n ? "-" : "A"}${(before & PAGE_DIRTY) === 0n ? "-" : "D"}`;
}

describe("user accesses by KVM to memory with bytes", () => {
  it("load and store 8 bytes and their little-endian halves", () => {
    const { host, base } = makeBacked(2);
    const { hostMm, cpu } = host;
    const last = byteAt(base, 2 * PAGE - 8);
    expect(hostMm.storeUser(cpu, last, 8, 0x1122334455667788n, true)).toBe(true);
    expect(hostMm.loadUser(cpu, last, 8, true)).toBe(0x1122334455667788n);
    expect(hostMm.loadUser(cpu, last, 4, false)).toBe(0x55667788n);
    expect(hostMm.loadUser(cpu, byteAt(last, 4), 4, true)).toBe(0x11223344n);
    hostMm.storeUser(cpu, byteAt(last, 4), 4, UPPER, true);
    hostMm.storeUser(cpu, last, 4, 5n, false);
    expect(hostMm.loadUser(cpu, last, 8, true)).toBe((UPPER << 32n) | 5n);
    expect(hostMm.loadUser(cpu, byteAt(last, -8), 8, true)).toBe(0n);
    expect(hostMm.loadUser(cpu, base, 8, true)).toBe(0n);
  });

  it("compare and exchange", () => {
    const { host, base } = makeBacked(1);
    const { hostMm, cpu } = host;
    expect(hostMm.cmpxchgUser(cpu, base, 8, 0n, 2n ** 64n - 1n)).toBe("done");
    expect(hostMm.cmpxchgUser(cpu, base, 8, 0n, 1n)).toBe("changed");
    expect(hostMm.cmpxchgUser(cpu, byteAt(base, 4), 4, UPPER, 7n)).toBe("done");
    expect(hostMm.cmpxchgUser(cpu, byteAt(base, 4), 4, UPPER, 8n)).toBe("changed");
    expect(hostMm.cmpxchgUser(cpu, base, 4, UPPER, 9n)).toBe("done");
    expect(hostMm.loadUser(cpu, base, 8, true)).toBe((7n << 32n) | 9n);
  });

  it("set Accessed, and Dirty for writes, also for an exchange that finds another value", () => {
    const { host, base } = makeBacked(1);
    const { hostMm, cpu } = host;
    expect(takeBits(host, base)).toBe("A-");
    expect(takeBits(host, base)).toBe("--");
    hostMm.loadUser(cpu, base, 8, true);
    expect(takeBits(host, base)).toBe("A-");
    hostMm.storeUser(cpu, base, 4, 1n, true);
    expect(takeBits(host, base)).toBe("AD");
    expect(hostMm.cmpxchgUser(cpu, base, 4, 2n, 3n)).toBe("changed");
    expect(takeBits(host, base)).toBe("AD");
  });

  it("fault where no mapping allows them", () => {
    const { host, base } = makeBacked(1, false);
    const { hostMm, cpu } = host;
    const nowhere = [byteAt(base, PAGE), byteAt(base, HUGE), (MAPPING_WINDOW_START - 8) as Hva, 0 as Hva];
    for (const atomic of [true, false]) {
      expect(hostMm.loadUser(cpu, base, 8, atomic)).toBe(0n);
      for (const hva of [base, ...nowhere]) {
        expect(hostMm.storeUser(cpu, hva, 8, 1n, atomic)).toBe(false);
        expect(hostMm.cmpxchgUser(cpu, hva, 4, 0n, 1n)).toBe("fault");
      }
      for (const hva of nowhere) expect(hostMm.loadUser(cpu, hva, 4, atomic)).toBeNull();
    }
    expect(takeBits(host, base)).toBe("A-");
    hostMm.mprotect(cpu, base, PAGE, true);
    expect(hostMm.storeUser(cpu, base, 8, 1n, true)).toBe(true);
    hostMm.mprotect(cpu, base, PAGE, false);
    expect(hostMm.storeUser(cpu, base, 8, 2n, false)).toBe(false);
    expect(hostMm.loadUser(cpu, base, 8, true)).toBe(1n);
  });

  it("fault after munmap", () => {
    const { host, base } = makeBacked(1);
    host.hostMm.munmap(host.cpu, base, PAGE);
    for (const atomic of [true, false]) expect(host.hostMm.loadUser(host.cpu, base, 8, atomic)).toBeNull();
  });

  it("refuse a misaligned address and a value that does not fit", () => {
    const { host, base } = makeBacked(1);
    const { hostMm, cpu } = host;
    expect(() => hostMm.loadUser(cpu, byteAt(base, 4), 8, true)).toThrow(UserAccessAlignmentError);
    expect(() => hostMm.storeUser(cpu, byteAt(base, 2), 4, 0n, true)).toThrow(
      `4 bytes at hva 0x${(base + 2).toString(16)}: the address must be a multiple of 4`,
    );
    expect(() => hostMm.storeUser(cpu, base, 4, 2n ** 32n, true)).toThrow(UserAccessValueError);
    expect(() => hostMm.cmpxchgUser(cpu, base, 8, -1n, 0n)).toThrow("outside [0, 2^64)");
    expect(() => hostMm.cmpxchgUser(cpu, base, 4, 0n, 2n ** 32n)).toThrow("outside [0, 2^32)");
    expect(hostMm.loadUser(cpu, base, 8, true)).toBe(0n);
  });

  it("may sleep unless atomic", () => {
    const { host, base } = makeBacked(1);
    const { hostMm, cpu } = host;
    const lock: SpinLock = {
      kind: "spinlock",
      address: host.machine.frames.allocateFrame(cpu),
      lockClass: { name: "kvm->mmu_lock", sleeps: false },
    };
    cpu.spinLock(lock);
    expect(hostMm.storeUser(cpu, base, 8, 3n, true)).toBe(true);
    expect(hostMm.loadUser(cpu, base, 8, true)).toBe(3n);
    expect(() => hostMm.loadUser(cpu, base, 8, false)).toThrow("kvm->mmu_lock");
    expect(() => hostMm.cmpxchgUser(cpu, base, 8, 3n, 4n)).toThrow("kvm->mmu_lock");
    expect(hostMm.loadUser(cpu, base, 8, true)).toBe(3n);
    cpu.spinUnlock(lock);
  });
});

describe("user accesses by KVM to memory without bytes", () => {
  it("fault it in unless atomic, read 0 and drop what they write", () => {
    const host = makeHost();
    const { hostMm, cpu } = host;
    const base = hostMm.mmapAnonymous(cpu, 2 * PAGE, { thp: false });
    expect(hostMm.loadUser(cpu, base, 8, true)).toBeNull();
    expect(hostMm.storeUser(cpu, base, 8, 1n, true)).toBe(false);
    expect(hostMm.counts(cpu).rss).toBe(0);
    expect(hostMm.loadUser(cpu, base, 8, false)).toBe(0n);
    expect(hostMm.counts(cpu).rss).toBe(1);
    takeBits(host, base);
    expect(hostMm.storeUser(cpu, base, 8, 1n, true)).toBe(true);
    expect(takeBits(host, base)).toBe("AD");
    expect(hostMm.loadUser(cpu, base, 4, true)).toBe(0n);
    expect(hostMm.cmpxchgUser(cpu, at(base, 1), 4, 0n, 1n)).toBe("done");
    expect(hostMm.cmpxchgUser(cpu, at(base, 1), 8, 1n, 2n)).toBe("changed");
    expect(hostMm.counts(cpu).rss).toBe(2);
  });

  it("bring it back from swap unless atomic", () => {
    const host = makeHost();
    const { hostMm, cpu } = host;
    const base = hostMm.mmapAnonymous(cpu, PAGE, { thp: false });
    hostMm.storeUser(cpu, base, 8, 1n, false);
    hostMm.lruAddDrainAll(cpu);
    hostMm.reclaimPages(cpu, { target: 1 });
    expect(hostMm.counts(cpu)).toMatchObject({ rss: 0, usedSwapSlots: 1 });
    expect(hostMm.loadUser(cpu, base, 8, true)).toBeNull();
    expect(hostMm.loadUser(cpu, base, 8, false)).toBe(0n);
    expect(hostMm.counts(cpu).rss).toBe(1);
  });

  it("reach every page of a huge one", () => {
    const host = makeHost({ pages: 1024, transparentHugePages: true });
    const { hostMm, cpu } = host;
    const base = hostMm.mmapAnonymous(cpu, HUGE, { thp: true });
    expect(hostMm.storeUser(cpu, at(base, 100), 8, 5n, false)).toBe(true);
    expect(hostMm.hostPfnMappingLevel(cpu, base)).toBe(2);
    expect(hostMm.loadUser(cpu, at(base, 511), 8, true)).toBe(0n);
    hostMm.mprotect(cpu, base, HUGE, false);
    expect(hostMm.storeUser(cpu, at(base, 100), 8, 5n, true)).toBe(false);
  });

  it("fail loudly if no page is left", () => {
    const host = makeHost({ pages: 1, swapSlots: 0 });
    const base = host.hostMm.mmapAnonymous(host.cpu, 2 * PAGE, { thp: false });
    expect(host.hostMm.loadUser(host.cpu, base, 8, false)).toBe(0n);
    expect(() => host.hostMm.loadUser(host.cpu, at(base, 1), 8, false)).toThrow(HostOutOfMemoryError);
    expect(host.hostMm.loadUser(host.cpu, at(base, 1), 8, true)).toBeNull();
  });
});
