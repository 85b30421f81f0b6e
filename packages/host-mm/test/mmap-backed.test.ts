import { OutOfMemoryError } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import { describe, expect, it } from "vitest";
import {
  checkHostMmInvariants,
  FIRST_HOST_PFN,
  InvalidMappingRangeError,
  MapCountError,
  NO_PFN,
  PfnMappingError,
} from "../src/index.js";
import { PAGE_ACCESSED, PAGE_DIRTY, PAGE_RW, PAGE_SPECIAL } from "../src/page-table/pte.js";
import {
  at,
  type Host,
  HUGE,
  isIdle,
  lookUp,
  makeHost,
  markIdle,
  PAGE,
  populate,
  pteWord,
  READ,
  RecordingSubscriber,
  WRITE,
} from "./support.js";

const hex = (value: number): string => `0x${value.toString(16)}`;

function backed(host: Host, pages: number, writable = true): Hva {
  return host.hostMm.mmapBacked(host.cpu, pages * PAGE, { writable });
}

/** Frames in use, after all grace periods. */
function framesInUse(host: Host): number {
  host.cpu.rcuBarrier();
  return host.machine.frames.allocatedFrames(host.cpu);
}

describe("backed memory", () => {
  it("is populated with frames of zeros, young and clean, and counts nowhere", () => {
    const host = makeHost();
    const { hostMm, cpu } = host;
    const before = hostMm.counts(cpu);
    const base = backed(host, 600);
    const pfns = Array.from({ length: 600 }, (_, page) => hostMm.pagemapLookup(cpu, at(base, page)));
    expect(new Set(pfns).size).toBe(600);
    for (const [page, pfn] of pfns.entries()) {
      expect(pfn).toBeGreaterThan(0);
      expect(pfn).toBeLessThan(FIRST_HOST_PFN);
      expect(cpu.readOnce((pfn * PAGE) as never)).toBe(0n);
      const bits = PAGE_SPECIAL | PAGE_RW | PAGE_ACCESSED | PAGE_DIRTY;
      expect(cpu.readOnce(pteWord(host, at(base, page))) & bits).toBe(bits & ~PAGE_DIRTY);
    }
    expect(base % HUGE).toBe(0);
    expect(hostMm.hostPfnMappingLevel(cpu, base)).toBe(1);
    expect(hostMm.counts(cpu)).toEqual(before);
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });

  it("is found by KVM without a reference", () => {
    const host = makeHost();
    const { hostMm, cpu } = host;
    const base = backed(host, 2);
    const pfn = hostMm.pagemapLookup(cpu, base);
    const reading = { ...READ, allowWritable: false };
    expect(lookUp(host, base, WRITE)).toEqual({ error: null, pfn, mapWritable: true });
    expect(lookUp(host, base, READ)).toEqual({ error: null, pfn, mapWritable: true });
    expect(lookUp(host, base, reading)).toEqual({ error: null, pfn, mapWritable: false });
    expect(lookUp(host, base, { ...WRITE, noWait: true })).toEqual({ error: null, pfn, mapWritable: true });
    for (const how of ["unused", "clean", "dirty"] as const) hostMm.releasePage(cpu, pfn as never, how);
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
    expect(hostMm.hvaToPfn(cpu, at(base, 2), READ)).toEqual({ error: "fault" });
  });

  it("read-only refuses KVM's writes until mprotect allows them", () => {
    const host = makeHost();
    const { hostMm, cpu } = host;
    const base = backed(host, 3, false);
    const subscriber = new RecordingSubscriber();
    hostMm.notifiers.register(cpu, subscriber);
    const pfn = hostMm.pagemapLookup(cpu, at(base, 1));
    expect(hostMm.hvaToPfn(cpu, at(base, 1), WRITE)).toEqual({ error: "ro-fault" });
    expect(lookUp(host, at(base, 1), READ)).toEqual({ error: null, pfn, mapWritable: false });
    hostMm.mprotect(cpu, at(base, 1), PAGE, true);
    expect(lookUp(host, at(base, 1), WRITE)).toEqual({ error: null, pfn, mapWritable: true });
    expect(hostMm.hvaToPfn(cpu, base, WRITE)).toEqual({ error: "ro-fault" });
    hostMm.mprotect(cpu, base, 3 * PAGE, false);
    expect(hostMm.hvaToPfn(cpu, at(base, 1), WRITE)).toEqual({ error: "ro-fault" });
    expect(subscriber.log.filter((line) => line.startsWith("kvm.start"))).toHaveLength(2);
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });

  it("is invisible to reclaim and page_idle, which never ask about it", () => {
    const host = makeHost();
    const { hostMm, cpu } = host;
    const base = backed(host, 4);
    const subscriber = new RecordingSubscriber();
    hostMm.notifiers.register(cpu, subscriber);
    const pfn = hostMm.pagemapLookup(cpu, base);
    markIdle(host, pfn);
    expect(isIdle(host, pfn)).toBe(false);
    expect(hostMm.reclaimPages(cpu, { target: 4 })).toMatchObject({ scanned: 0, reclaimed: 0 });
    expect(subscriber.log).toEqual([]);
    expect(hostMm.pagemapLookup(cpu, base)).toBe(pfn);
  });

  it("is freed by munmap after the bracket: frames and entries still there at its start, entries gone at its end", () => {
    const host = makeHost();
    const { hostMm, cpu, machine } = host;
    const base = backed(host, 512);
    hostMm.storeUser(cpu, base, 8, 77n, true);
    const frames = framesInUse(host);
    const subscriber = new RecordingSubscriber();
    const seen: unknown[] = [];
    const look = (): void => {
      seen.push([hostMm.loadUser(cpu, base, 8, true), hostMm.pagemapLookup(cpu, base) !== NO_PFN]);
      seen.push(machine.frames.allocatedFrames(cpu) - frames);
    };
    subscriber.onStart = look;
    subscriber.onEnd = look;
    hostMm.notifiers.register(cpu, subscriber);
    hostMm.munmap(cpu, base, HUGE);
    const range = `${hex(base)} ${hex(base + HUGE)} 0x0`;
    expect(subscriber.log).toEqual([`kvm.start ${range}`, `kvm.end ${range}`]);
    expect(seen).toEqual([[77n, true], 0, [null, false], 0]);
    // With the frames goes the one PTE table.
    expect(framesInUse(host)).toBe(frames - 513);
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });

  it("comes back as zeros where it was unmapped, and stays where it was not", () => {
    const host = makeHost();
    const { hostMm, cpu } = host;
    const base = backed(host, 3);
    for (let page = 0; page < 3; page++) hostMm.storeUser(cpu, at(base, page), 8, BigInt(page + 1), true);
    const frames = framesInUse(host);
    hostMm.munmap(cpu, at(base, 1), PAGE);
    expect(framesInUse(host)).toBe(frames - 1);
    expect([0, 1, 2].map((page) => hostMm.loadUser(cpu, at(base, page), 8, false))).toEqual([1n, null, 3n]);
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
    hostMm.munmap(cpu, base, 3 * PAGE);
    const again = backed(host, 3);
    expect(again).toBe(base);
    expect([0, 1, 2].map((page) => hostMm.loadUser(cpu, at(base, page), 8, false))).toEqual([0n, 0n, 0n]);
  });

  it("cannot be dropped by MADV_DONTNEED, and nothing beside it is", () => {
    const host = makeHost({ pages: 520 });
    const { hostMm, cpu } = host;
    const anonymous = populate(host, 512);
    const base = backed(host, 1);
    expect(base).toBe(anonymous + HUGE);
    expect(() => hostMm.madviseDontneed(cpu, anonymous, HUGE + PAGE)).toThrow(PfnMappingError);
    expect(() => hostMm.madviseDontneed(cpu, base, PAGE)).toThrow(`[${hex(base)}, ${hex(base + PAGE)})`);
    expect(hostMm.counts(cpu).rss).toBe(512);
    hostMm.madviseDontneed(cpu, anonymous, HUGE);
    expect(hostMm.counts(cpu).rss).toBe(0);
  });

  it("goes with the process", () => {
    const host = makeHost();
    const { hostMm, cpu } = host;
    populate(host, 2);
    const frames = framesInUse(host);
    const base = backed(host, 40);
    hostMm.exitMmap(cpu);
    // Less than before by the table of the anonymous pages; the upper tables stay.
    expect(framesInUse(host)).toBe(frames - 1);
    expect(hostMm.loadUser(cpu, base, 8, false)).toBeNull();
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });

  it("that does not fit leaves nothing behind and no bracket open", () => {
    const host = makeHost({}, 4 << 20);
    const { hostMm, cpu } = host;
    const subscriber = new RecordingSubscriber();
    hostMm.notifiers.register(cpu, subscriber);
    expect(() => backed(host, 1024)).toThrow(OutOfMemoryError);
    const frames = framesInUse(host);
    // Frames of the slab of records and upper tables stay for the next time; a second failure adds none.
    expect(() => backed(host, 1024)).toThrow(OutOfMemoryError);
    expect(framesInUse(host)).toBe(frames);
    expect(subscriber.log.map((line) => line.split(" ")[0])).toEqual([
      "kvm.start",
      "kvm.end",
      "kvm.start",
      "kvm.end",
    ]);
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
    expect(hostMm.loadUser(cpu, backed(host, 1), 8, true)).toBe(0n);
  });

  it("refuses what cannot be, before it takes anything", () => {
    const host = makeHost({ maxMapCount: 1 });
    expect(() => host.hostMm.mmapBacked(host.cpu, 100, { writable: true })).toThrow(InvalidMappingRangeError);
    backed(host, 1);
    const frames = framesInUse(host);
    expect(() => backed(host, 1)).toThrow(MapCountError);
    expect(framesInUse(host)).toBe(frames);
  });
});
