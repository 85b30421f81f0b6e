import type { Hva } from "@kvm-age/memslot";
import { describe, expect, it } from "vitest";
import { checkHostMmInvariants, MAPPING_WINDOW_START } from "../src/index.js";
import { PG_FREE, PG_LRU, PG_MAPPED } from "../src/page/page-state.js";
import { makePte, PAGE_SPECIAL, PTE_NONE, swapPte } from "../src/page-table/pte.js";
import { at, type Host, HUGE, lookUp, makeHost, PAGE, populate, pteWord, READ } from "./support.js";

const BASE = MAPPING_WINDOW_START as Hva;

function spoiled(spoil: (host: Host) => void): string[] {
  const host = makeHost();
  const base = populate(host, 4);
  host.hostMm.reclaimPages(host.cpu, { target: 1 });
  expect(checkHostMmInvariants(host.hostMm, host.cpu)).toEqual([]);
  expect(base).toBe(BASE);
  spoil(host);
  return checkHostMmInvariants(host.hostMm, host.cpu);
}

function pteAt(host: Host, index: number) {
  return pteWord(host, at(BASE, index));
}

function stateWord(host: Host, index: number) {
  const hva = at(BASE, index);
  const { memMap } = host.hostMm.mm;
  return memMap.stateWord(memMap.pfnToPage(host.hostMm.pagemapLookup(host.cpu, hva)));
}

describe("checkHostMmInvariants", () => {
  it.each<[string, (host: Host) => void, string]>([
    [
      "a PTE lost",
      (host) => host.cpu.writeOnce(pteAt(host, 3), PTE_NONE),
      "resident set is 3, 2 pages are mapped",
    ],
    [
      "a page mapped twice",
      (host) => host.cpu.writeOnce(pteAt(host, 8), host.cpu.readOnce(pteAt(host, 3))),
      "is mapped twice",
    ],
    [
      "a page that forgot its mapping",
      (host) => host.cpu.fetchAnd(stateWord(host, 3), 2n ** 64n - 1n - PG_MAPPED, "full"),
      "does not know it",
    ],
    ["a free page mapped", (host) => host.cpu.writeOnce(stateWord(host, 3), PG_FREE), "is free and mapped"],
    ["a reference too many", (host) => lookUp(host, at(BASE, 3), READ), "has 2 references, 1"],
    [
      "a list flag gone",
      (host) => host.cpu.fetchAnd(stateWord(host, 3), 2n ** 64n - 1n - PG_LRU, "full"),
      "list without PG_lru",
    ],
    [
      "a slot named twice",
      (host) => host.cpu.writeOnce(pteAt(host, 9), swapPte(1)),
      "swap slot 1 is named twice",
    ],
    ["a free slot named", (host) => host.cpu.writeOnce(pteAt(host, 9), swapPte(2)), "swap slot 2 is free"],
  ])("sees %s", (_name, spoil, message) => {
    expect(spoiled(spoil).join("\n")).toContain(message);
  });

  it.each<[string, (host: Host, base: Hva) => void, string]>([
    ["a frame lost", (host, base) => host.cpu.writeOnce(pteWord(host, base), PTE_NONE), "without a frame"],
    [
      "a frame mapped twice",
      (host, base) => host.cpu.writeOnce(pteWord(host, base), host.cpu.readOnce(pteWord(host, at(base, 1)))),
      "is mapped twice",
    ],
    [
      "a frame freed too early",
      (host, base) => host.machine.frames.freeFrame(host.cpu, frameAt(host, base)),
      "is not in use as backed memory",
    ],
    [
      "a page table as memory",
      (host, base) => {
        const word = pteWord(host, base);
        const table = Math.floor(word / PAGE);
        host.cpu.writeOnce(word, makePte(table, PAGE_SPECIAL));
      },
      "is a page table",
    ],
    [
      "a frame in anonymous memory",
      (host, base) => host.cpu.writeOnce(pteWord(host, at(BASE, 9)), host.cpu.readOnce(pteWord(host, base))),
      "maps memory of another kind than its mapping",
    ],
  ])("sees %s of backed memory", (_name, spoil, message) => {
    const found = spoiled((host) => spoil(host, host.hostMm.mmapBacked(host.cpu, HUGE, { writable: true })));
    expect(found.join("\n")).toContain(message);
  });
});

function frameAt(host: Host, hva: Hva) {
  return (host.hostMm.pagemapLookup(host.cpu, hva) * PAGE) as ReturnType<typeof pteWord>;
}
