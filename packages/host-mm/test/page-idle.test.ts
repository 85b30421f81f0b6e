import { describe, expect, it } from "vitest";
import {
  attachHostMm,
  FIRST_HOST_PFN,
  PAGEVEC_SIZE,
  PageIdleAlignmentError,
  PageIdleRangeError,
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
} from "./support.js";

describe("page_idle", () => {
  it.each([
    [4, 8],
    [8, 4],
    [-8, 8],
    [0, 1],
  ])("offset %i and length %i: EINVAL", (offset, length) => {
    const { hostMm, cpu } = makeHost();
    expect(() => hostMm.pageIdle.read(cpu, offset, length)).toThrow(PageIdleAlignmentError);
  });

  it("first pfn behind the end: read gives nothing, write is ENXIO; across the end: truncated", () => {
    const { hostMm, cpu } = makeHost({ pages: 100 });
    const end = hostMm.pageIdle.words * 8;
    expect(hostMm.pageIdle.words).toBe(Math.ceil((FIRST_HOST_PFN + 100) / 64));
    expect(hostMm.pageIdle.read(cpu, end, 8)).toEqual([]);
    expect(() => hostMm.pageIdle.write(cpu, end, [1n])).toThrow(PageIdleRangeError);
    expect(() => hostMm.pageIdle.write(cpu, end - 4, [1n])).toThrow(PageIdleAlignmentError);
    expect(hostMm.pageIdle.read(cpu, end - 8, 32)).toEqual([0n]);
    expect(hostMm.pageIdle.write(cpu, end - 16, [0n, 0n, 0n])).toBe(16);
  });

  it("a mark stays until the page is used; reading takes the use", () => {
    const host = makeHost();
    const base = populate(host, 3);
    const pfn = host.hostMm.pagemapLookup(host.cpu, base);
    expect(isIdle(host, pfn)).toBe(false);
    markIdle(host, pfn);
    expect(isIdle(host, pfn)).toBe(true);
    expect(isIdle(host, pfn)).toBe(true);
    host.hostMm.userAccess(host.cpu, base, false);
    expect(isIdle(host, pfn)).toBe(false);
    expect(isIdle(host, pfn)).toBe(false);
  });

  it("writing 0 does nothing", () => {
    const host = makeHost();
    const base = populate(host, 1);
    const pfn = host.hostMm.pagemapLookup(host.cpu, base);
    markIdle(host, pfn);
    host.hostMm.pageIdle.writeWord(host.cpu, pfn / 64, 0n);
    expect(isIdle(host, pfn)).toBe(true);
  });

  it("asks the notifier once for each mapped page, also if the primary bit was set, and only for marked pages on read", () => {
    const host = makeHost();
    const subscriber = new RecordingSubscriber();
    host.hostMm.notifiers.register(host.cpu, subscriber);
    const base = populate(host, 3);
    const word = FIRST_HOST_PFN / 64;
    host.hostMm.pageIdle.writeWord(host.cpu, word, 0b011n);
    const call = (page: number): string =>
      `kvm.clearYoung 0x${at(base, page).toString(16)} 0x${at(base, page + 1).toString(16)}`;
    expect(subscriber.log).toEqual([call(0), call(1)]);
    subscriber.log.length = 0;
    expect(host.hostMm.pageIdle.readWord(host.cpu, word)).toBe(0b011n);
    expect(subscriber.log).toEqual([call(0), call(1)]);
    subscriber.young = true;
    expect(host.hostMm.pageIdle.readWord(host.cpu, word)).toBe(0n);
    subscriber.log.length = 0;
    expect(host.hostMm.pageIdle.readWord(host.cpu, word)).toBe(0n);
    expect(subscriber.log).toEqual([]);
  });

  it("ignores arena frames, free pages and pages still in a batch", () => {
    const host = makeHost();
    const base = host.hostMm.mmapAnonymous(host.cpu, 64 * PAGE, { thp: false });
    for (let page = 0; page < PAGEVEC_SIZE + 2; page++)
      host.hostMm.userAccess(host.cpu, at(base, page), true);
    host.hostMm.pageIdle.writeWord(host.cpu, 0, 2n ** 64n - 1n);
    host.hostMm.pageIdle.writeWord(host.cpu, FIRST_HOST_PFN / 64, 2n ** 64n - 1n);
    expect(host.hostMm.pageIdle.readWord(host.cpu, 0)).toBe(0n);
    expect(host.hostMm.pageIdle.readWord(host.cpu, FIRST_HOST_PFN / 64)).toBe(
      2n ** BigInt(PAGEVEC_SIZE) - 1n,
    );
  });

  it("a lookup by KVM takes the mark when it marks the page accessed", () => {
    const host = makeHost();
    const base = populate(host, 1);
    const { pfn } = lookUp(host, base, READ);
    markIdle(host, pfn);
    host.hostMm.releasePage(host.cpu, pfn, "unused");
    expect(isIdle(host, pfn)).toBe(true);
    guestTouch(host, base, false);
    expect(isIdle(host, pfn)).toBe(false);
  });

  it("does not look at a page that is freed and used anew between its look and its reference", () => {
    const host = makeHost({ pages: 1 });
    const { cpu, hostMm, machine } = host;
    const base = populate(host, 1);
    const otherCpu = machine.attach();
    const other = attachHostMm(machine, hostMm.handle);
    let done = false;
    const overtaken = Object.create(cpu) as typeof cpu;
    // The reference is the first compare-exchange of a write.
    overtaken.cmpxchg = (address, expected, replacement, order) => {
      if (!done) {
        done = true;
        other.munmap(otherCpu, base, PAGE);
        other.userAccess(otherCpu, other.mmapAnonymous(otherCpu, PAGE, { thp: false }), true);
      }
      return cpu.cmpxchg(address, expected, replacement, order);
    };
    hostMm.pageIdle.writeWord(overtaken, FIRST_HOST_PFN / 64, 1n);
    expect(done).toBe(true);
    hostMm.lruAddDrainAll(cpu);
    expect(isIdle(host, FIRST_HOST_PFN)).toBe(false);
  });
});
