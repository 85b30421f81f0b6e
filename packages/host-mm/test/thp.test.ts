import { describe, expect, it } from "vitest";
import { checkHostMmInvariants, HPAGE_PMD_NR } from "../src/index.js";
import {
  at,
  guestTouch,
  HUGE,
  isIdle,
  lookUp,
  makeHost,
  markIdle,
  PAGE,
  READ,
  RecordingSubscriber,
  WRITE,
} from "./support.js";

function hugeHost(pages = 2048) {
  const host = makeHost({ pages, transparentHugePages: true });
  const subscriber = new RecordingSubscriber();
  host.hostMm.notifiers.register(host.cpu, subscriber);
  const base = host.hostMm.mmapAnonymous(host.cpu, 2 * HUGE, { thp: true });
  return { ...host, subscriber, base };
}

describe("huge pages", () => {
  it("a first touch maps 512 aligned pages with one leaf", () => {
    const host = hugeHost();
    const { hostMm, cpu, base } = host;
    const pfn = guestTouch(host, at(base, 5), true);
    expect(pfn % HPAGE_PMD_NR).toBe(5);
    expect(hostMm.hostPfnMappingLevel(cpu, base)).toBe(2);
    expect(hostMm.hostPfnMappingLevel(cpu, at(base, 512))).toBe(1);
    expect(guestTouch(host, at(base, 511), false)).toBe(pfn + 506);
    expect(hostMm.counts(cpu)).toMatchObject({ rss: 512, takenPages: 512 });
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });

  it("falls back to 4 KiB without a free block, without the mapping's consent, or where 2 MiB do not fit", () => {
    const scarce = hugeHost(600);
    guestTouch(scarce, scarce.base, true);
    guestTouch(scarce, at(scarce.base, 512), true);
    expect(scarce.hostMm.hostPfnMappingLevel(scarce.cpu, scarce.base)).toBe(2);
    expect(scarce.hostMm.hostPfnMappingLevel(scarce.cpu, at(scarce.base, 512))).toBe(1);
    const host = hugeHost();
    const plain = host.hostMm.mmapAnonymous(host.cpu, HUGE, { thp: false });
    const short = host.hostMm.mmapAnonymous(host.cpu, HUGE - PAGE, { thp: true });
    for (const hva of [plain, short]) {
      guestTouch(host, hva, true);
      expect(host.hostMm.hostPfnMappingLevel(host.cpu, hva)).toBe(1);
    }
  });

  it("splitHugePmd brackets the change and keeps pages and contents", () => {
    const host = hugeHost();
    const { hostMm, cpu, base, subscriber } = host;
    const pfn = guestTouch(host, base, true);
    hostMm.writeContent(cpu, (pfn + 7) as never, 3n);
    expect(hostMm.splitHugePmd(cpu, at(base, 100))).toBe(true);
    const range = `0x${base.toString(16)} 0x${(base + HUGE).toString(16)} 0x1`;
    expect(subscriber.log).toEqual([`kvm.start ${range}`, `kvm.end ${range}`]);
    expect(hostMm.hostPfnMappingLevel(cpu, base)).toBe(1);
    expect(hostMm.splitHugePmd(cpu, base)).toBe(false);
    expect(guestTouch(host, at(base, 7), false)).toBe(pfn + 7);
    expect(hostMm.readContent(cpu, (pfn + 7) as never)).toBe(3n);
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });

  it("page_idle: the head stands for all, by the leaf or by 512 PTEs; tails read 0", () => {
    const host = hugeHost();
    const { hostMm, cpu, base, subscriber } = host;
    const pfn = guestTouch(host, base, true);
    markIdle(host, pfn);
    markIdle(host, pfn + 1);
    expect(subscriber.log).toEqual([`kvm.clearYoung 0x${base.toString(16)} 0x${(base + HUGE).toString(16)}`]);
    expect(isIdle(host, pfn)).toBe(true);
    expect(isIdle(host, pfn + 1)).toBe(false);
    hostMm.splitHugePmd(cpu, base);
    subscriber.log.length = 0;
    expect(isIdle(host, pfn)).toBe(true);
    expect(subscriber.log).toHaveLength(512);
    hostMm.userAccess(cpu, at(base, 400), false);
    expect(isIdle(host, pfn)).toBe(false);
  });

  it("a partial unmap splits; the folio goes when its last page does", () => {
    const host = hugeHost();
    const { hostMm, cpu, base } = host;
    const pfn = guestTouch(host, base, true);
    hostMm.munmap(cpu, base, 100 * PAGE);
    expect(hostMm.counts(cpu)).toMatchObject({ rss: 412, takenPages: 512 });
    expect(lookUp(host, at(base, 100), READ).pfn).toBe(pfn + 100);
    hostMm.releasePage(cpu, (pfn + 100) as never, "unused");
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
    hostMm.munmap(cpu, at(base, 100), 412 * PAGE);
    expect(hostMm.counts(cpu)).toMatchObject({ rss: 0, takenPages: 0 });
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });

  it("a whole unmap needs no split, and the block can be huge again", () => {
    const host = hugeHost(512);
    const { hostMm, cpu, base, subscriber } = host;
    guestTouch(host, base, true);
    hostMm.madviseDontneed(cpu, base, HUGE);
    expect(subscriber.log).toHaveLength(2);
    guestTouch(host, base, true);
    expect(hostMm.hostPfnMappingLevel(cpu, base)).toBe(2);
  });

  it("single pages become a block again when all are free", () => {
    const host = makeHost({ pages: 512, transparentHugePages: true });
    const { hostMm, cpu } = host;
    const plain = hostMm.mmapAnonymous(cpu, HUGE, { thp: false });
    for (let page = 0; page < 512; page++) guestTouch(host, at(plain, page), true);
    hostMm.lruAddDrainAll(cpu);
    hostMm.munmap(cpu, plain, HUGE);
    hostMm.mm.zone.drainAllStocks(cpu);
    const huge = hostMm.mmapAnonymous(cpu, HUGE, { thp: true });
    guestTouch(host, huge, true);
    expect(hostMm.hostPfnMappingLevel(cpu, huge)).toBe(2);
  });

  it("reclaim divides the folio, frees what nobody maps, and loses nothing", () => {
    const host = hugeHost();
    const { hostMm, cpu, base } = host;
    const pfn = guestTouch(host, base, true);
    for (let page = 0; page < 512; page++) hostMm.writeContent(cpu, (pfn + page) as never, BigInt(page + 1));
    hostMm.madviseDontneed(cpu, at(base, 500), 12 * PAGE);
    const report = hostMm.reclaimPages(cpu, { target: 50 });
    expect(report).toMatchObject({ reclaimed: 50, swappedOut: 50 });
    expect(hostMm.counts(cpu)).toMatchObject({ rss: 450, usedSwapSlots: 50 });
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
    for (let page = 0; page < 512; page++) {
      const expected = page < 500 ? BigInt(page + 1) : 0n;
      expect(hostMm.readContent(cpu, guestTouch(host, at(base, page), false))).toBe(expected);
    }
  });

  it("a huge folio that somebody holds is not divided", () => {
    const host = hugeHost();
    const { hostMm, cpu, base } = host;
    const { pfn } = lookUp(host, at(base, 9), WRITE);
    const results = [0, 1, 2, 3].map(() => hostMm.shrinkOneFolio(cpu).result);
    expect(results.at(-1)).toBe("kept-pinned");
    hostMm.releasePage(cpu, pfn, "unused");
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });
});
