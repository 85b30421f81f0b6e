import { describe, expect, it } from "vitest";
import {
  attachHostMm,
  checkHostMmInvariants,
  FIRST_HOST_PFN,
  HostMmOptionError,
  HostOutOfMemoryError,
  MAPPING_WINDOW_START,
  PageReferenceError,
  SegmentationFaultError,
} from "../src/index.js";
import {
  at,
  guestTouch,
  isIdle,
  lookUp,
  makeHost,
  markIdle,
  PAGE,
  populate,
  READ,
  RecordingSubscriber,
  WRITE,
} from "./support.js";

describe("hvaToPfn", () => {
  it("faults in on first touch and finds the same page again", () => {
    const host = makeHost();
    const base = host.hostMm.mmapAnonymous(host.cpu, 4 * PAGE, { thp: false });
    expect(base).toBe(MAPPING_WINDOW_START);
    expect(host.hostMm.pagemapLookup(host.cpu, base)).toBe(-1);
    const first = lookUp(host, base, WRITE);
    expect(first).toEqual({ error: null, pfn: FIRST_HOST_PFN, mapWritable: true });
    expect(lookUp(host, (base + 123) as typeof base, READ).pfn).toBe(first.pfn);
    host.hostMm.releasePage(host.cpu, first.pfn, "clean");
    host.hostMm.releasePage(host.cpu, first.pfn, "unused");
    expect(host.hostMm.counts(host.cpu).rss).toBe(1);
    expect(checkHostMmInvariants(host.hostMm, host.cpu)).toEqual([]);
    expect(() => host.hostMm.releasePage(host.cpu, first.pfn, "unused")).not.toThrow();
    expect(() => host.hostMm.releasePage(host.cpu, first.pfn, "unused")).toThrow(PageReferenceError);
  });

  it("getUserPageFastOnly gives a present writable page with a reference, and faults nothing in", () => {
    const { hostMm, cpu } = makeHost();
    const base = hostMm.mmapAnonymous(cpu, 2 * PAGE, { thp: false });
    const backed = hostMm.mmapBacked(cpu, PAGE, { writable: true });
    expect(hostMm.getUserPageFastOnly(cpu, base)).toBeNull();
    expect(hostMm.counts(cpu).rss).toBe(0);
    hostMm.userAccess(cpu, base, true);
    const pfn = hostMm.getUserPageFastOnly(cpu, base);
    expect(pfn).toBe(FIRST_HOST_PFN);
    hostMm.releasePage(cpu, pfn!, "unused");
    hostMm.mprotect(cpu, base, PAGE, false);
    expect(hostMm.getUserPageFastOnly(cpu, base)).toBeNull();
    expect(hostMm.getUserPageFastOnly(cpu, backed)).toBeNull();
    expect(hostMm.getUserPageFastOnly(cpu, at(base, 1 << 20))).toBeNull();
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });

  it("a read gets a writable mapping if it may, and no zero page", () => {
    const host = makeHost();
    const base = host.hostMm.mmapAnonymous(host.cpu, 2 * PAGE, { thp: false });
    expect(lookUp(host, base, READ).mapWritable).toBe(true);
    expect(lookUp(host, at(base, 1), { ...READ, allowWritable: false }).mapWritable).toBe(false);
  });

  it("answers fault outside of mappings and, for writes, in read-only ones", () => {
    const host = makeHost();
    const base = host.hostMm.mmapAnonymous(host.cpu, 2 * PAGE, { thp: false });
    expect(host.hostMm.hvaToPfn(host.cpu, at(base, 2), READ)).toEqual({ error: "fault" });
    expect(host.hostMm.hvaToPfn(host.cpu, 0x1000 as typeof base, READ)).toEqual({ error: "fault" });
    guestTouch(host, base, true);
    host.hostMm.mprotect(host.cpu, base, 2 * PAGE, false);
    expect(host.hostMm.hvaToPfn(host.cpu, base, WRITE)).toEqual({ error: "fault" });
    expect(lookUp(host, base, READ).mapWritable).toBe(false);
    expect(lookUp(host, at(base, 1), READ).mapWritable).toBe(false);
    host.hostMm.mprotect(host.cpu, base, 2 * PAGE, true);
    expect(lookUp(host, at(base, 1), WRITE).mapWritable).toBe(true);
    expect(() => host.hostMm.userAccess(host.cpu, at(base, 2), false)).toThrow(SegmentationFaultError);
  });

  it("issues no notifier call for faults", () => {
    const host = makeHost();
    const subscriber = new RecordingSubscriber();
    host.hostMm.notifiers.register(host.cpu, subscriber);
    populate(host, 40);
    expect(subscriber.log).toEqual([]);
  });

  it("creates PTEs accessed", () => {
    const host = makeHost();
    const base = host.hostMm.mmapAnonymous(host.cpu, PAGE, { thp: false });
    const pfn = guestTouch(host, base, false);
    host.hostMm.lruAddDrainAll(host.cpu);
    // Marking takes the Accessed bit that the fault set; no second one appears by itself.
    markIdle(host, pfn);
    expect(isIdle(host, pfn)).toBe(true);
    host.hostMm.userAccess(host.cpu, base, false);
    expect(isIdle(host, pfn)).toBe(false);
  });

  it("of two first touches at once one wins, the other frees its page", () => {
    const host = makeHost();
    const { cpu, hostMm, machine } = host;
    const base = hostMm.mmapAnonymous(cpu, PAGE, { thp: false });
    const otherCpu = machine.attach();
    const other = attachHostMm(machine, hostMm.handle);
    let winner = -1;
    const overtaken = Object.create(cpu) as typeof cpu;
    overtaken.spinLock = (lock) => {
      if (lock.lockClass.name === "ptlock_ptr(ptdesc)" && winner === -1) {
        winner = -2;
        const result = other.hvaToPfn(otherCpu, base, WRITE);
        if (result.error === null) winner = result.pfn;
      }
      cpu.spinLock(lock);
    };
    const result = hostMm.hvaToPfn(overtaken, base, WRITE);
    // The loser had made its page already: the winner got the second one.
    expect(winner).toBe(FIRST_HOST_PFN + 1);
    expect(result).toMatchObject({ error: null, pfn: winner });
    hostMm.releasePage(cpu, winner as never, "dirty");
    hostMm.releasePage(cpu, winner as never, "dirty");
    expect(hostMm.counts(cpu).rss).toBe(1);
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });

  it("names the numbers when memory is out, and keeps no lock", () => {
    const host = makeHost({ pages: 8, swapSlots: 0 });
    const base = host.hostMm.mmapAnonymous(host.cpu, 16 * PAGE, { thp: false });
    for (let page = 0; page < 8; page++) guestTouch(host, at(base, page), true);
    const overflow = (): unknown => host.hostMm.hvaToPfn(host.cpu, at(base, 8), WRITE);
    expect(overflow).toThrow(HostOutOfMemoryError);
    expect(overflow).toThrow("all 8 host pages in use, 0 swap slot(s) free");
    expect(() => host.hostMm.userAccess(host.cpu, at(base, 8), true)).toThrow(HostOutOfMemoryError);
    host.hostMm.munmap(host.cpu, base, PAGE);
    guestTouch(host, at(base, 8), true);
    expect(checkHostMmInvariants(host.hostMm, host.cpu)).toEqual([]);
  });

  it("finds pages that another processor has in stock before it gives up", () => {
    const host = makeHost({ pages: 4096, swapSlots: 0 });
    const otherCpu = host.machine.attach();
    const base = host.hostMm.mmapAnonymous(host.cpu, 4096 * PAGE, { thp: false });
    host.hostMm.userAccess(otherCpu, base, true);
    for (let page = 1; page < 4096; page++) host.hostMm.userAccess(host.cpu, at(base, page), true);
    expect(host.hostMm.counts(host.cpu)).toMatchObject({ rss: 4096, takenPages: 4096 });
  });

  it("reclaims by itself with directReclaim", () => {
    const host = makeHost({ pages: 32, swapSlots: 200, directReclaim: true });
    const base = host.hostMm.mmapAnonymous(host.cpu, 100 * PAGE, { thp: false });
    for (let page = 0; page < 100; page++) {
      const pfn = guestTouch(host, at(base, page), true);
      host.hostMm.writeContent(host.cpu, pfn, BigInt(page + 1000));
    }
    expect(checkHostMmInvariants(host.hostMm, host.cpu)).toEqual([]);
    for (let page = 0; page < 100; page++) {
      const pfn = guestTouch(host, at(base, page), false);
      expect(host.hostMm.readContent(host.cpu, pfn)).toBe(BigInt(page + 1000));
    }
  });

  it("says when the limit is exceeded, and leaves it at that", () => {
    const host = makeHost({ pages: 64, memoryLimitPages: 10 });
    populate(host, 10);
    expect(host.hostMm.overLimit(host.cpu)).toBe(false);
    populate(host, 1);
    expect(host.hostMm.overLimit(host.cpu)).toBe(true);
  });

  it.each([
    [{ pages: 0 }, "pages 0"],
    [{ swapSlots: -1 }, "swapSlots -1"],
    [{ memoryLimitPages: 257 }, "[1, 256]"],
    [{ maxMapCount: 0 }, "maxMapCount 0"],
  ])("refuses %j", (init, message) => {
    expect(() => makeHost(init)).toThrow(HostMmOptionError);
    expect(() => makeHost(init)).toThrow(message);
  });
});
