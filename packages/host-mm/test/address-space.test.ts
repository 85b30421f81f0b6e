import { describe, expect, it } from "vitest";
import {
  AddressSpaceExhaustedError,
  attachHostMm,
  checkHostMmInvariants,
  ForeignPfnError,
  InvalidMappingRangeError,
  MAPPING_WINDOW_START,
  MapCountError,
  NoContentsError,
  UnmappedRangeError,
} from "../src/index.js";
import {
  at,
  guestTouch,
  HUGE,
  lookUp,
  makeHost,
  PAGE,
  populate,
  READ,
  RecordingSubscriber,
} from "./support.js";

const hex = (value: number): string => `0x${value.toString(16)}`;

describe("mappings", () => {
  it("lie at multiples of 2 MiB from 0x7f0000000000, in the first gap", () => {
    const { hostMm, cpu } = makeHost();
    const first = hostMm.mmapAnonymous(cpu, PAGE, { thp: false });
    const second = hostMm.mmapAnonymous(cpu, HUGE + PAGE, { thp: false });
    const third = hostMm.mmapAnonymous(cpu, PAGE, { thp: false });
    expect([first, second, third]).toEqual([0, HUGE, 3 * HUGE].map((bytes) => MAPPING_WINDOW_START + bytes));
    hostMm.munmap(cpu, second, HUGE + PAGE);
    expect(hostMm.mmapAnonymous(cpu, HUGE, { thp: false })).toBe(second);
  });

  it("refuse what cannot be", () => {
    const { hostMm, cpu } = makeHost({ maxMapCount: 3 });
    expect(() => hostMm.mmapAnonymous(cpu, 0, { thp: false })).toThrow(InvalidMappingRangeError);
    expect(() => hostMm.mmapAnonymous(cpu, 100, { thp: false })).toThrow(InvalidMappingRangeError);
    expect(() => hostMm.mmapAnonymous(cpu, 2 ** 40, { thp: false })).toThrow(InvalidMappingRangeError);
    const base = hostMm.mmapAnonymous(cpu, 2 ** 39, { thp: false });
    expect(() => hostMm.mmapAnonymous(cpu, 2 ** 39, { thp: false })).toThrow(AddressSpaceExhaustedError);
    expect(() => hostMm.munmap(cpu, (base + 1) as typeof base, PAGE)).toThrow(InvalidMappingRangeError);
    hostMm.munmap(cpu, at(base, 1), PAGE);
    hostMm.mmapAnonymous(cpu, PAGE, { thp: false });
    expect(() => hostMm.mmapAnonymous(cpu, PAGE, { thp: false })).toThrow(MapCountError);
    expect(() => hostMm.madviseDontneed(cpu, base, 3 * PAGE)).toThrow(UnmappedRangeError);
    expect(() => hostMm.mprotect(cpu, base, 3 * PAGE, false)).toThrow(`is not mapped at ${hex(at(base, 1))}`);
    expect(() => hostMm.munmap(cpu, at(base, 10), PAGE)).toThrow(MapCountError);
    expect(hostMm.hvaToPfn(cpu, base, READ).error).toBeNull();
  });

  it("munmap notifies once for the whole range, frees pages, slots and tables", () => {
    const host = makeHost();
    const { hostMm, cpu, machine } = host;
    const subscriber = new RecordingSubscriber();
    hostMm.notifiers.register(cpu, subscriber);
    const before = machine.frames.allocatedFrames(cpu);
    const base = populate(host, 20);
    hostMm.reclaimPages(cpu, { target: 5 });
    subscriber.log.length = 0;
    const frames = machine.frames.allocatedFrames(cpu);
    hostMm.munmap(cpu, base, HUGE);
    const range = `${hex(base)} ${hex(base + HUGE)} 0x0`;
    expect(subscriber.log).toEqual([`kvm.start ${range}`, `kvm.end ${range}`]);
    expect(hostMm.counts(cpu)).toMatchObject({ rss: 0, usedSwapSlots: 0, inactivePages: 0, activePages: 0 });
    cpu.rcuBarrier();
    // The PTE table is gone; PUD and PMD table and the slab of locks stay.
    expect(machine.frames.allocatedFrames(cpu)).toBe(frames - 1);
    expect(frames - 1).toBeGreaterThan(before);
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });

  it("MADV_DONTNEED keeps the mapping and forgets the contents, swapped out or not", () => {
    const host = makeHost();
    const { hostMm, cpu } = host;
    const base = populate(host, 4);
    for (let page = 0; page < 4; page++) hostMm.writeContent(cpu, lookUp(host, at(base, page), READ).pfn, 1n);
    for (let page = 0; page < 4; page++) {
      hostMm.releasePage(cpu, hostMm.pagemapLookup(cpu, at(base, page)) as never, "dirty");
    }
    hostMm.reclaimPages(cpu, { target: 2 });
    expect(hostMm.counts(cpu).usedSwapSlots).toBeGreaterThan(0);
    hostMm.madviseDontneed(cpu, base, 4 * PAGE);
    expect(hostMm.counts(cpu)).toMatchObject({ rss: 0, usedSwapSlots: 0 });
    for (let page = 0; page < 4; page++) {
      expect(hostMm.readContent(cpu, guestTouch(host, at(base, page), false))).toBe(0n);
    }
  });

  it("mprotect brackets each 512 GiB that have page tables", () => {
    const host = makeHost();
    const { hostMm, cpu } = host;
    const subscriber = new RecordingSubscriber();
    hostMm.notifiers.register(cpu, subscriber);
    const bytes = 2 ** 39 + 2 ** 30;
    const base = hostMm.mmapAnonymous(cpu, bytes, { thp: false });
    hostMm.mprotect(cpu, base, bytes, false);
    expect(subscriber.log).toEqual([]);
    hostMm.userAccess(cpu, base, false);
    hostMm.mprotect(cpu, base, bytes, true);
    const range = `${hex(base)} ${hex(base + 2 ** 39)} 0x2`;
    expect(subscriber.log).toEqual([`kvm.start ${range}`, `kvm.end ${range}`]);
    hostMm.userAccess(cpu, base, true);
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });

  it("exit releases the notifiers once and before the tables go", () => {
    const host = makeHost();
    const { hostMm, cpu, machine } = host;
    const subscriber = new RecordingSubscriber();
    hostMm.notifiers.register(cpu, subscriber);
    populate(host, 3);
    const other = attachHostMm(machine, hostMm.handle);
    hostMm.exitMmap(cpu);
    other.exitMmap(cpu);
    expect(subscriber.log).toEqual(["kvm.release"]);
    expect(hostMm.counts(cpu)).toMatchObject({ rss: 0, inactivePages: 0, activePages: 0 });
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });
});

describe("contents and pfns", () => {
  it("need a host with contents and a pfn of the host", () => {
    const host = makeHost({ contents: false });
    const base = populate(host, 1);
    const { pfn } = lookUp(host, base, READ);
    expect(() => host.hostMm.readContent(host.cpu, pfn)).toThrow(NoContentsError);
    expect(() => host.hostMm.releasePage(host.cpu, 0x100100 as typeof pfn, "clean")).toThrow(ForeignPfnError);
    expect(() => host.hostMm.releasePage(host.cpu, 0x100100 as typeof pfn, "clean")).toThrow(
      "[0x100000, 0x100100)",
    );
  });

  it("another thread's view sees the same pages", () => {
    const host = makeHost();
    const base = populate(host, 2);
    const other = attachHostMm(host.machine, structuredClone(host.hostMm.handle));
    expect(other.pagemapLookup(host.machine.attach(), at(base, 1))).toBe(
      host.hostMm.pagemapLookup(host.cpu, at(base, 1)),
    );
  });
});
