import { describe, expect, it } from "vitest";
import { checkHostMmInvariants } from "../src/index.js";
import { PG_FREE, PG_LRU, PG_MAPPED } from "../src/page/page-state.js";
import { PTE_NONE, swapPte } from "../src/page-table/pte.js";
import { at, type Host, lookUp, makeHost, populate, READ } from "./support.js";

function spoiled(spoil: (host: Host) => void): string[] {
  const host = makeHost();
  const base = populate(host, 4);
  host.hostMm.reclaimPages(host.cpu, { target: 1 });
  expect(checkHostMmInvariants(host.hostMm, host.cpu)).toEqual([]);
  expect(base).toBe(0x7f0000000000);
  spoil(host);
  return checkHostMmInvariants(host.hostMm, host.cpu);
}

function pteWord(host: Host, index: number) {
  const { pageTables } = host.hostMm.mm;
  return pageTables.pteOffset(host.cpu.readOnce(pageTables.pmdOffset(host.cpu, index)), index);
}

function stateWord(host: Host, index: number) {
  const hva = at(0x7f0000000000 as never, index);
  const { memMap } = host.hostMm.mm;
  return memMap.stateWord(memMap.pfnToPage(host.hostMm.pagemapLookup(host.cpu, hva)));
}

describe("checkHostMmInvariants", () => {
  it.each<[string, (host: Host) => void, string]>([
    [
      "a PTE lost",
      (host) => host.cpu.writeOnce(pteWord(host, 3), PTE_NONE),
      "resident set is 3, 2 pages are mapped",
    ],
    [
      "a page mapped twice",
      (host) => host.cpu.writeOnce(pteWord(host, 8), host.cpu.readOnce(pteWord(host, 3))),
      "is mapped twice",
    ],
    [
      "a page that forgot its mapping",
      (host) => host.cpu.fetchAnd(stateWord(host, 3), 2n ** 64n - 1n - PG_MAPPED, "full"),
      "does not know it",
    ],
    ["a free page mapped", (host) => host.cpu.writeOnce(stateWord(host, 3), PG_FREE), "is free and mapped"],
    [
      "a reference too many",
      (host) => lookUp(host, at(0x7f0000000000 as never, 3), READ),
      "has 2 references, 1",
    ],
    [
      "a list flag gone",
      (host) => host.cpu.fetchAnd(stateWord(host, 3), 2n ** 64n - 1n - PG_LRU, "full"),
      "list without PG_lru",
    ],
    [
      "a slot named twice",
      (host) => host.cpu.writeOnce(pteWord(host, 9), swapPte(1)),
      "swap slot 1 is named twice",
    ],
    ["a free slot named", (host) => host.cpu.writeOnce(pteWord(host, 9), swapPte(2)), "swap slot 2 is free"],
  ])("sees %s", (_name, spoil, message) => {
    expect(spoiled(spoil).join("\n")).toContain(message);
  });
});
