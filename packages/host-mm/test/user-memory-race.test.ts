import type { Address } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import { describe, expect, it } from "vitest";
import { checkHostMmInvariants } from "../src/index.js";
import { PAGE_DIRTY } from "../src/page-table/pte.js";
import { InterruptedCpu } from "./interrupted-cpu.js";
import { anotherProcessor, at, type Host, HUGE, makeHost, PAGE, pteWord } from "./support.js";

const OLD = 0x1111_2222_3333_4444n;
const NEW = 0x5555_6666n;
const FOREIGN = 0xbad0_bad0_bad0_bad0n;
const PAGES = 8;

/** Runs `first` with `second` whole in front of its access number `moment`; false if `first` was over before. */
function runAt(
  host: Host,
  moment: number,
  first: (host: Host) => void,
  second: (other: Host) => void,
): boolean {
  const other = anotherProcessor(host);
  const interrupted = new InterruptedCpu(host.cpu, {
    moment,
    awaited: ["spin", "write"],
    isBlocked: () => false,
    interrupt: () => second(other),
  });
  first({ ...host, cpu: interrupted });
  if (!interrupted.ran) second(other);
  return interrupted.ran;
}

/** Unmaps the memory and lets somebody else have every frame that is free by then, as soon as may be. */
function unmapAndReuse(other: Host, base: Hva, foreign: Address[]): void {
  const { cpu, machine } = other;
  other.hostMm.munmap(cpu, base, HUGE);
  // Every 32nd end of a read section tries to move the grace period on; two moves free the frames.
  for (let section = 0; section < 256; section++) {
    cpu.rcuReadLock();
    cpu.rcuReadUnlock();
  }
  for (let frame = 0; frame < PAGES + 4; frame++) foreign.push(machine.frames.allocateFrame(cpu, FOREIGN));
}

describe("munmap and reuse of the frame at any moment of a user access", () => {
  it.each<[string, (host: Host, base: Hva) => void]>([
    [
      "load of 8 bytes",
      ({ hostMm, cpu }, base) => expect([OLD, null]).toContain(hostMm.loadUser(cpu, base, 8, true)),
    ],
    [
      "load of 4 bytes",
      ({ hostMm, cpu }, base) => expect([0x3333_4444n, null]).toContain(hostMm.loadUser(cpu, base, 4, false)),
    ],
    ["store of 8 bytes", ({ hostMm, cpu }, base) => hostMm.storeUser(cpu, base, 8, NEW, false)],
    ["store of 4 bytes", ({ hostMm, cpu }, base) => hostMm.storeUser(cpu, base, 4, NEW, true)],
    [
      "exchange of 8 bytes",
      ({ hostMm, cpu }, base) =>
        expect(["done", "fault"]).toContain(hostMm.cmpxchgUser(cpu, base, 8, OLD, NEW)),
    ],
    [
      "exchange of 4 bytes",
      ({ hostMm, cpu }, base) =>
        expect(["done", "fault"]).toContain(hostMm.cmpxchgUser(cpu, base, 4, 0x3333_4444n, NEW)),
    ],
  ])("%s", { timeout: 60_000 }, (_name, access) => {
    let moment = 0;
    let reused = 0;
    for (let ran = true; ran; moment++) {
      const host = makeHost({}, 2 << 20);
      const base = host.hostMm.mmapBacked(host.cpu, PAGES * PAGE, { writable: true });
      host.hostMm.storeUser(host.cpu, base, 8, OLD, true);
      const frame = (host.hostMm.pagemapLookup(host.cpu, base) * PAGE) as Address;
      const foreign: Address[] = [];
      ran = runAt(
        host,
        moment,
        (interrupted) => access(interrupted, base),
        (other) => unmapAndReuse(other, base, foreign),
      );
      if (foreign.includes(frame)) reused++;
      for (const other of foreign) expect(host.rawCpu.readOnce(other)).toBe(FOREIGN);
      expect(checkHostMmInvariants(host.hostMm, host.rawCpu)).toEqual([]);
    }
    expect(moment).toBeGreaterThan(5);
    // At the latest when the access is over, and not at every moment before.
    expect(reused).toBeGreaterThan(0);
    expect(reused).toBeLessThan(moment);
  });
});

describe("a store to the other half of the word at any moment of an access to 4 bytes", () => {
  it.each<[string, (host: Host, base: Hva) => void]>([
    ["store", ({ hostMm, cpu }, base) => expect(hostMm.storeUser(cpu, base, 4, NEW, true)).toBe(true)],
    ["exchange", ({ hostMm, cpu }, base) => expect(hostMm.cmpxchgUser(cpu, base, 4, 0n, NEW)).toBe("done")],
  ])("%s: both are kept, and the neighbour is no reason to fail", { timeout: 60_000 }, (_name, access) => {
    let moment = 0;
    for (let ran = true; ran; moment++) {
      const host = makeHost({}, 2 << 20);
      const base = host.hostMm.mmapBacked(host.cpu, PAGE, { writable: true });
      ran = runAt(
        host,
        moment,
        (interrupted) => access(interrupted, base),
        (other) => other.hostMm.storeUser(other.cpu, (base + 4) as Hva, 4, 3n, true),
      );
      expect(host.hostMm.loadUser(host.cpu, base, 8, true)).toBe((3n << 32n) | NEW);
    }
    expect(moment).toBeGreaterThan(5);
  });
});

describe("the split of a huge leaf at any moment of a user access", () => {
  it.each<[string, (host: Host, hva: Hva) => void]>([
    ["by the VMM", ({ hostMm, cpu }, hva) => hostMm.userAccess(cpu, hva, true)],
    [
      "by KVM",
      ({ hostMm, cpu }, hva) => expect(hostMm.storeUser(cpu, hva, 8, 2n ** 64n - 1n, true)).toBe(true),
    ],
  ])(
    "write %s: lands in the page, not in the new table, and dirties its entry",
    { timeout: 60_000 },
    (_name, access) => {
      let moment = 0;
      for (let ran = true; ran; moment++) {
        const host = makeHost({ pages: 1024, transparentHugePages: true });
        const { hostMm, rawCpu } = host;
        const base = hostMm.mmapAnonymous(rawCpu, HUGE, { thp: true });
        hostMm.userAccess(rawCpu, base, true);
        const pmd = hostMm.mm.pageTables.pmdOffset(rawCpu, 0);
        rawCpu.fetchAnd(pmd, 2n ** 64n - 1n - PAGE_DIRTY, "full");
        const target = at(base, 77);
        ran = runAt(
          host,
          moment,
          (interrupted) => access(interrupted, target),
          (other) => other.hostMm.splitHugePmd(other.cpu, base),
        );
        expect(rawCpu.readOnce(pteWord(host, target)) & PAGE_DIRTY).toBe(PAGE_DIRTY);
        expect(checkHostMmInvariants(hostMm, rawCpu)).toEqual([]);
      }
      expect(moment).toBeGreaterThan(5);
    },
  );
});
