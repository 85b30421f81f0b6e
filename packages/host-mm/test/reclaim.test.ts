import { describe, expect, it } from "vitest";
import { checkHostMmInvariants, type MmuNotifierRange } from "../src/index.js";
import { decideFolioReferences } from "../src/reclaim/folio-check-references.js";
import {
  at,
  forgetAccesses,
  guestTouch,
  lookUp,
  makeHost,
  markIdle,
  PAGE,
  populate,
  READ,
  RecordingSubscriber,
  WRITE,
} from "./support.js";

const OUT = { result: "reclaimed", swappedOut: true };

describe("the referenced decision", () => {
  it.each([
    [0, false, "reclaim"],
    [0, true, "reclaim"],
    [1, false, "keep"],
    [1, true, "activate"],
    [2, false, "activate"],
    [2, true, "activate"],
  ] as const)("%i references, referenced before: %s -> %s", (references, before, decision) => {
    expect(decideFolioReferences(references, before)).toBe(decision);
  });

  it("keeps a page used once, activates it when used again, by primary bit or notifier alike", () => {
    for (const bySubscriber of [false, true]) {
      const host = makeHost();
      const subscriber = new RecordingSubscriber();
      host.hostMm.notifiers.register(host.cpu, subscriber);
      const base = populate(host, 1);
      const use = (): void => {
        if (bySubscriber) subscriber.young = true;
        else host.hostMm.userAccess(host.cpu, base, false);
      };
      const { hostMm, cpu } = host;
      expect(hostMm.shrinkOneFolio(cpu).result).toBe("kept-referenced");
      use();
      expect(hostMm.shrinkOneFolio(cpu).result).toBe("activated");
      expect(hostMm.counts(cpu)).toMatchObject({ inactivePages: 0, activePages: 1 });
      subscriber.young = false;
      // Moving to the inactive list takes the bit; the flag that kept it goes with the next look.
      expect(hostMm.shrinkOneFolio(cpu)).toMatchObject(OUT);
    }
  });

  it("counts a use that idle tracking took", () => {
    const host = makeHost();
    const base = populate(host, 1);
    const pfn = host.hostMm.pagemapLookup(host.cpu, base);
    markIdle(host, pfn);
    expect(host.hostMm.shrinkOneFolio(host.cpu).result).toBe("kept-referenced");
    expect(host.hostMm.shrinkOneFolio(host.cpu)).toMatchObject(OUT);
  });

  it("folio_referenced takes the idle mark when it finds a use", () => {
    const host = makeHost();
    const base = populate(host, 1);
    const pfn = host.hostMm.pagemapLookup(host.cpu, base);
    markIdle(host, pfn);
    expect(host.hostMm.shrinkOneFolio(host.cpu).result).toBe("kept-referenced");
    host.hostMm.userAccess(host.cpu, base, false);
    expect(host.hostMm.shrinkOneFolio(host.cpu, { onlyIdle: true }).result).toBe("activated");
    expect(host.hostMm.shrinkOneFolio(host.cpu, { onlyIdle: true }).result).toBe("kept-not-idle");
  });
});

describe("the unmap protocol", () => {
  it("start comes while the page is mapped, end when the swap entry is in place", () => {
    const host = makeHost();
    const subscriber = new RecordingSubscriber();
    host.hostMm.notifiers.register(host.cpu, subscriber);
    const base = populate(host, 1);
    forgetAccesses(host, base, 1);
    host.hostMm.shrinkOneFolio(host.cpu);
    subscriber.log.length = 0;
    const mapped: number[] = [];
    subscriber.onStart = (range: MmuNotifierRange) => {
      mapped.push(host.hostMm.pagemapLookup(host.cpu, range.start as typeof base));
    };
    expect(host.hostMm.shrinkOneFolio(host.cpu)).toMatchObject(OUT);
    const range = `0x${base.toString(16)} 0x${at(base, 1).toString(16)}`;
    expect(subscriber.log).toEqual([
      `kvm.clearFlushYoung ${range}`,
      `kvm.start ${range} 0x1`,
      `kvm.end ${range} 0x1`,
    ]);
    expect(mapped).toEqual([0x100000]);
    expect(host.hostMm.pagemapLookup(host.cpu, base)).toBe(-1);
  });

  it("brings the contents back, drops a clean copy without writing, writes a dirtied one", () => {
    const host = makeHost();
    const { hostMm, cpu } = host;
    const base = populate(host, 1);
    hostMm.writeContent(cpu, hostMm.pagemapLookup(cpu, base) as never, 77n);
    const evict = (): unknown => {
      for (;;) {
        const outcome = hostMm.shrinkOneFolio(cpu);
        if (outcome.result === "reclaimed" || outcome.result === "empty") return outcome;
        hostMm.lruAddDrainAll(cpu);
      }
    };
    expect(evict()).toMatchObject(OUT);
    expect(hostMm.counts(cpu)).toMatchObject({ rss: 0, usedSwapSlots: 1 });

    const { pfn } = lookUp(host, base, READ);
    expect(hostMm.readContent(cpu, pfn)).toBe(77n);
    hostMm.releasePage(cpu, pfn, "clean");
    hostMm.lruAddDrainAll(cpu);
    expect(hostMm.counts(cpu)).toMatchObject({ rss: 1, usedSwapSlots: 1 });
    expect(evict()).toMatchObject({ result: "reclaimed", swappedOut: false });

    const again = lookUp(host, base, READ).pfn;
    expect(hostMm.readContent(cpu, again)).toBe(77n);
    hostMm.writeContent(cpu, again, 78n);
    hostMm.releasePage(cpu, again, "dirty");
    hostMm.lruAddDrainAll(cpu);
    expect(evict()).toMatchObject(OUT);

    const written = lookUp(host, base, WRITE).pfn;
    expect(hostMm.readContent(cpu, written)).toBe(78n);
    hostMm.releasePage(cpu, written, "dirty");
    expect(hostMm.counts(cpu).usedSwapSlots).toBe(0);
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });

  it("a Dirty bit that the VMM's walker set in a clean page's PTE is not lost", () => {
    const host = makeHost();
    const { hostMm, cpu } = host;
    const base = populate(host, 1);
    hostMm.reclaimPages(cpu, { target: 1 });
    const pfn = guestTouch(host, base, false);
    hostMm.userAccess(cpu, base, true);
    hostMm.writeContent(cpu, pfn, 5n);
    hostMm.lruAddDrainAll(cpu);
    hostMm.reclaimPages(cpu, { target: 1 });
    hostMm.reclaimPages(cpu, { target: 1 });
    expect(hostMm.counts(cpu).rss).toBe(0);
    expect(hostMm.readContent(cpu, guestTouch(host, base, false))).toBe(5n);
  });

  it("a folio that KVM holds is unmapped but stays, and can be mapped again", () => {
    const host = makeHost();
    const { hostMm, cpu } = host;
    const base = populate(host, 1);
    const { pfn } = lookUp(host, base, READ);
    hostMm.writeContent(cpu, pfn, 9n);
    expect(hostMm.shrinkOneFolio(cpu).result).toBe("kept-referenced");
    expect(hostMm.shrinkOneFolio(cpu)).toEqual({ pfn, result: "kept-pinned", swappedOut: false });
    expect(hostMm.pagemapLookup(cpu, base)).toBe(-1);
    hostMm.releasePage(cpu, pfn, "unused");
    expect(lookUp(host, base, { ...READ, noWait: true }).pfn).toBe(pfn);
    hostMm.releasePage(cpu, pfn, "unused");
    expect(hostMm.readContent(cpu, pfn)).toBe(9n);
    expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
  });

  it("needs-io: a swapped-out page is not read without waiting", () => {
    const host = makeHost();
    const base = populate(host, 1);
    expect(host.hostMm.reclaimPages(host.cpu, { target: 1 }).reclaimed).toBe(1);
    expect(host.hostMm.hvaToPfn(host.cpu, base, { ...READ, noWait: true })).toEqual({ error: "needs-io" });
    expect(host.hostMm.counts(host.cpu).rss).toBe(0);
  });

  it("without a free swap slot pages become active and stay", () => {
    const host = makeHost({ swapSlots: 1 });
    const base = populate(host, 4);
    const report = host.hostMm.reclaimPages(host.cpu, { target: 4 });
    expect(report).toMatchObject({ reclaimed: 1, swappedOut: 1 });
    expect(host.hostMm.counts(host.cpu)).toMatchObject({ rss: 3, usedSwapSlots: 1 });
    expect(checkHostMmInvariants(host.hostMm, host.cpu)).toEqual([]);
    host.hostMm.munmap(host.cpu, base, 4 * PAGE);
    expect(host.hostMm.counts(host.cpu)).toMatchObject({ rss: 0, usedSwapSlots: 0 });
  });

  it("a device more than half full takes no copy back", () => {
    const host = makeHost({ swapSlots: 3 });
    const base = populate(host, 2);
    expect(host.hostMm.reclaimPages(host.cpu, { target: 2 }).reclaimed).toBe(2);
    guestTouch(host, base, false);
    expect(host.hostMm.counts(host.cpu).usedSwapSlots).toBe(1);
    guestTouch(host, at(base, 1), false);
    expect(host.hostMm.counts(host.cpu).usedSwapSlots).toBe(1);
  });

  it("onlyIdle reclaims what is marked and not used since, and nothing else", () => {
    const host = makeHost();
    const base = populate(host, 6);
    const pfns = [0, 1, 2, 3, 4, 5].map((page) => host.hostMm.pagemapLookup(host.cpu, at(base, page)));
    for (const page of [1, 3, 5]) markIdle(host, pfns[page]!);
    host.hostMm.userAccess(host.cpu, at(base, 3), false);
    host.hostMm.reclaimPages(host.cpu, { target: 6, onlyIdle: true });
    const present = [0, 1, 2, 3, 4, 5].map(
      (page) => host.hostMm.pagemapLookup(host.cpu, at(base, page)) !== -1,
    );
    expect(present).toEqual([true, false, true, true, true, false]);
  });

  it("a pfn that is asked for is tried, one that is on no list is not", () => {
    const host = makeHost();
    const base = populate(host, 3);
    const pfn = host.hostMm.pagemapLookup(host.cpu, at(base, 1));
    if (pfn === -1) throw new Error("not mapped");
    expect(host.hostMm.shrinkOneFolio(host.cpu, { pfn }).result).toBe("kept-referenced");
    expect(host.hostMm.shrinkOneFolio(host.cpu, { pfn })).toEqual({ pfn, ...OUT });
    expect(host.hostMm.shrinkOneFolio(host.cpu, { pfn }).result).toBe("not-on-list");
    const empty = makeHost();
    expect(empty.hostMm.shrinkOneFolio(empty.cpu).result).toBe("empty");
  });
});
