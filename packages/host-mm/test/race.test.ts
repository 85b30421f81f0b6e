import type { Hva } from "@kvm-age/memslot";
import type { Pfn } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { attachHostMm, checkHostMmInvariants, FIRST_HOST_PFN } from "../src/index.js";
import { PG_LOCKED } from "../src/page/page-state.js";
import { InterruptedCpu } from "./interrupted-cpu.js";
import {
  at,
  forgetAccesses,
  type Host,
  HUGE,
  lookUp,
  makeHost,
  markIdle,
  PAGE,
  populate,
  READ,
  RecordingSubscriber,
  WRITE,
} from "./support.js";

interface Scenario {
  readonly name: string;
  readonly thp?: boolean;
  /** A lock that `second` does not take, so that it may run while `first` holds it. */
  readonly without?: "mmap lock" | "folio lock";
  readonly setUp: (host: Host, write: Writer) => Hva;
  readonly first: (host: Host, base: Hva, write: Writer) => void;
  readonly second: (host: Host, base: Hva, write: Writer) => void;
}

/** A guest write as KVM makes it, unless an invalidation is open: then KVM drops the page and would retry. */
type Writer = (host: Host, hva: Hva, token: bigint) => void;

const touchRead = (host: Host, hva: Hva): void => {
  const result = host.hostMm.hvaToPfn(host.cpu, hva, READ);
  if (result.error === null) host.hostMm.releasePage(host.cpu, result.pfn, "clean");
};

/** The page of the scenario in which KVM holds one. */
const PIN = FIRST_HOST_PFN as Pfn;

function coldPage(host: Host): Hva {
  const base = populate(host, 2);
  forgetAccesses(host, base, 2);
  for (let round = 0; round < 2; round++) host.hostMm.shrinkOneFolio(host.cpu);
  return base;
}

function swappedPage(host: Host): Hva {
  const base = populate(host, 1);
  host.hostMm.reclaimPages(host.cpu, { target: 1 });
  expect(host.hostMm.counts(host.cpu).rss).toBe(0);
  return base;
}

function coldHugePage(host: Host): Hva {
  const base = host.hostMm.mmapAnonymous(host.cpu, HUGE, { thp: true });
  host.hostMm.userAccess(host.cpu, base, true);
  expect(host.hostMm.shrinkOneFolio(host.cpu).result).toBe("kept-referenced");
  return base;
}

const scenarios: Scenario[] = [
  {
    name: "first touch against first touch",
    setUp: (host) => host.hostMm.mmapAnonymous(host.cpu, PAGE, { thp: false }),
    first: touchRead,
    second: (host, base, write) => write(host, base, 5n),
  },
  {
    name: "huge first touch against huge first touch",
    thp: true,
    setUp: (host) => host.hostMm.mmapAnonymous(host.cpu, HUGE, { thp: true }),
    first: touchRead,
    second: (host, base, write) => write(host, base, 5n),
  },
  {
    name: "swap-in against swap-in for write",
    setUp: swappedPage,
    first: touchRead,
    second: (host, base, write) => write(host, base, 5n),
  },
  {
    name: "swap-in against reclaim",
    setUp: swappedPage,
    first: (host, base) => touchRead(host, base),
    second: (host) => host.hostMm.reclaimPages(host.cpu, { target: 1 }),
  },
  {
    name: "reclaim against a guest write",
    setUp: coldPage,
    first: (host) => host.hostMm.shrinkOneFolio(host.cpu),
    second: (host, base, write) => write(host, base, 5n),
  },
  {
    name: "reclaim against a VMM write",
    setUp: coldPage,
    first: (host) => host.hostMm.shrinkOneFolio(host.cpu),
    second: (host, base) => host.hostMm.userAccess(host.cpu, base, true),
  },
  {
    name: "reclaim against munmap",
    setUp: coldPage,
    first: (host) => host.hostMm.shrinkOneFolio(host.cpu),
    second: (host, base) => host.hostMm.munmap(host.cpu, base, HUGE),
  },
  {
    name: "munmap against reclaim",
    without: "mmap lock",
    setUp: coldPage,
    first: (host, base) => host.hostMm.munmap(host.cpu, base, HUGE),
    second: (host) => host.hostMm.shrinkOneFolio(host.cpu),
  },
  {
    name: "reclaim against idle marking",
    setUp: coldPage,
    first: (host) => host.hostMm.shrinkOneFolio(host.cpu),
    second: (host) => markIdle(host, 0x100000),
  },
  {
    name: "a quick lookup against unmap and reuse of the page",
    setUp: (host, write) => {
      const base = populate(host, 2);
      write(host, base, 100n);
      write(host, at(base, 1), 200n);
      host.hostMm.madviseDontneed(host.cpu, at(base, 1), PAGE);
      forgetAccesses(host, base, 1);
      return base;
    },
    first: (host, base) => {
      const { pfn } = lookUp(host, base, READ);
      expect(host.hostMm.readContent(host.cpu, pfn)).toBe(100n);
      host.hostMm.releasePage(host.cpu, pfn, "unused");
    },
    second: (host, base, write) => {
      host.hostMm.lruAddDrainAll(host.cpu);
      for (let round = 0; round < 3; round++) host.hostMm.reclaimPages(host.cpu, { target: 1 });
      write(host, at(base, 1), 201n);
    },
  },
  {
    name: "swap-in against swap-in for read",
    setUp: swappedPage,
    first: touchRead,
    second: touchRead,
  },
  {
    name: "reclaim against the end of KVM's hold on a dirty page",
    without: "folio lock",
    setUp: (host, write) => {
      const base = coldPage(host);
      write(host, base, 7n);
      lookUp(host, base, READ);
      host.hostMm.lruAddDrainAll(host.cpu);
      return base;
    },
    first: (host) => host.hostMm.shrinkOneFolio(host.cpu, { pfn: PIN }),
    second: (host) => host.hostMm.releasePage(host.cpu, PIN, "unused"),
  },
  {
    name: "reclaim of a huge page against a guest write to a tail",
    thp: true,
    setUp: coldHugePage,
    first: (host) => host.hostMm.shrinkOneFolio(host.cpu),
    second: (host, base, write) => write(host, at(base, 9), 5n),
  },
  {
    name: "a quick lookup of a tail against the split of its folio",
    thp: true,
    setUp: coldHugePage,
    first: (host, base) => touchRead(host, at(base, 9)),
    second: (host) => host.hostMm.shrinkOneFolio(host.cpu),
  },
  {
    name: "a PMD split against madvise of a part",
    thp: true,
    setUp: coldHugePage,
    first: (host, base) => host.hostMm.splitHugePmd(host.cpu, base),
    second: (host, base) => host.hostMm.madviseDontneed(host.cpu, at(base, 3), 4 * PAGE),
  },
  {
    name: "madvise of a part against reclaim",
    thp: true,
    setUp: coldHugePage,
    first: (host, base) => host.hostMm.madviseDontneed(host.cpu, at(base, 3), 4 * PAGE),
    second: (host) => host.hostMm.shrinkOneFolio(host.cpu),
  },
];

function hasLockedFolio({ hostMm, cpu }: Host): boolean {
  const { memMap } = hostMm.mm;
  for (let pfn = FIRST_HOST_PFN; pfn < memMap.maxPfn; pfn++) {
    if ((memMap.readState(cpu, memMap.pfnToPage(pfn)) & PG_LOCKED) !== 0n) return true;
  }
  return false;
}

/** Runs `second` at access number `moment` of `first`; false if `first` was over before, and it ran afterwards. */
function runAt(scenario: Scenario, moment: number): boolean {
  const made = makeHost({ pages: 2048, transparentHugePages: scenario.thp === true });
  const host = { ...made, cpu: made.rawCpu };
  const subscriber = new RecordingSubscriber();
  host.hostMm.notifiers.register(host.cpu, subscriber);
  const written = new Map<Hva, bigint>();
  const write: Writer = (by, hva, token) => {
    const { pfn } = lookUp(by, hva, WRITE);
    const open = subscriber.log.filter((line) => line.includes(".start")).length;
    const closed = subscriber.log.filter((line) => line.includes(".end")).length;
    if (open === closed) {
      by.hostMm.writeContent(by.cpu, pfn, token);
      written.set(hva, token);
    }
    by.hostMm.releasePage(by.cpu, pfn, open === closed ? "dirty" : "unused");
  };
  const base = scenario.setUp(host, write);
  const otherCpu = host.machine.attach();
  const other: Host = {
    machine: host.machine,
    cpu: otherCpu,
    rawCpu: otherCpu,
    hostMm: attachHostMm(host.machine, host.hostMm.handle),
  };
  other.hostMm.notifiers.register(other.cpu, subscriber);
  const interrupted = new InterruptedCpu(host.cpu, {
    moment,
    awaited: scenario.without === "mmap lock" ? ["spin"] : ["spin", "write"],
    isBlocked: () => scenario.without !== "folio lock" && hasLockedFolio(host),
    interrupt: () => scenario.second(other, base, write),
  });
  scenario.first({ ...host, cpu: interrupted }, base, write);
  const ran = interrupted.ran;
  if (!ran) scenario.second(other, base, write);
  expect(checkHostMmInvariants(host.hostMm, host.cpu)).toEqual([]);
  host.hostMm.reclaimPages(host.cpu, { target: 600 });
  host.hostMm.reclaimPages(host.cpu, { target: 600 });
  expect(checkHostMmInvariants(host.hostMm, host.cpu)).toEqual([]);
  for (const [hva, token] of written) {
    expect(host.hostMm.readContent(host.cpu, lookUp(host, hva, READ).pfn)).toBe(token);
  }
  return ran;
}

describe("an operation that runs whole at any moment of another", () => {
  // Huge scenarios pass over stretches of the 512 equal steps of a split.
  it.each(scenarios)(
    "$name",
    (scenario) => {
      let moments = 0;
      let moment = 0;
      while (runAt(scenario, moment)) {
        moments++;
        moment += scenario.thp === true && moment > 60 ? 41 : 1;
      }
      expect(moments).toBeGreaterThan(10);
    },
    120_000,
  );
});
