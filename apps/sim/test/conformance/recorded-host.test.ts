import type { Cpu } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import { PG_LEVEL_2M, PG_LEVEL_4K } from "@kvm-age/spte";
import { describe, expect, test } from "vitest";
import { RecordedHost } from "../../src/conformance/model/recorded-host.js";
import { GuestWindow } from "../../src/conformance/replay/guest-window.js";

const HVA = 0x7f0000000000 as Hva;
const PAGE = 4096;
/** The host is not in the arena: it never touches the processor. */
const NO_CPU = undefined as unknown as Cpu;

function at(page: number): Hva {
  return (HVA + page * PAGE) as Hva;
}

function pfnOf(host: RecordedHost, page: number): number | string {
  const result = host.hvaToPfn(NO_CPU, at(page), { write: false } as never);
  return result.error === null ? result.pfn : result.error;
}

describe("RecordedHost", () => {
  test("knows the pages that it has learned, and no others", () => {
    const host = new RecordedHost();
    host.learnPage(at(1), 0x100, PG_LEVEL_4K, true);
    expect(pfnOf(host, 1)).toBe(0x100);
    expect(pfnOf(host, 0)).toBe("sigpending");
    expect(host.hostPfnMappingLevel(NO_CPU, at(1))).toBe(PG_LEVEL_4K);
  });

  test("a huge page is known as a whole, wherever in it it was learned", () => {
    const host = new RecordedHost();
    host.learnPage(at(5), 0x205, PG_LEVEL_2M, true);
    expect([0, 5, 511].map((page) => pfnOf(host, page))).toEqual([0x200, 0x205, 0x3ff]);
    expect(pfnOf(host, 512)).toBe("sigpending");
    expect(host.hostPfnMappingLevel(NO_CPU, at(511))).toBe(PG_LEVEL_2M);
  });

  test("what is left of a huge page after a hole is mapped by small ones", () => {
    const host = new RecordedHost();
    host.learnPage(at(0), 0x200, PG_LEVEL_2M, true);
    host.forget(at(16), at(20));
    expect([15, 16, 19, 20].map((page) => pfnOf(host, page))).toEqual([
      0x20f,
      "sigpending",
      "sigpending",
      0x214,
    ]);
    expect(host.hostPfnMappingLevel(NO_CPU, at(15))).toBe(PG_LEVEL_4K);
  });

  test("a write to a page that the owner may not write is not answered", () => {
    const host = new RecordedHost();
    host.learnPage(at(0), 0x100, PG_LEVEL_4K, false);
    expect(host.hvaToPfn(NO_CPU, at(0), { write: true } as never).error).toBe("sigpending");
    expect(host.hvaToPfn(NO_CPU, at(0), { write: false } as never)).toMatchObject({ mapWritable: false });
    expect(host.getUserPageFastOnly(NO_CPU, at(0))).toBeNull();
  });

  test("words of guest memory are exchanged only from what they hold", () => {
    const host = new RecordedHost();
    host.learnWord(HVA, 7n);
    expect(host.word(at(1))).toBeNull();
    expect(host.cmpxchgUser(NO_CPU, HVA, 8, 6n, 9n)).toBe("changed");
    expect(host.cmpxchgUser(NO_CPU, HVA, 8, 7n, 9n)).toBe("done");
    expect(host.loadUser(NO_CPU, HVA)).toBe(9n);
    expect(host.loadUser(NO_CPU, at(1))).toBe(0n);
  });
});

describe("GuestWindow", () => {
  test("a fault ends the accesses before it, and none that were over", () => {
    const window = new GuestWindow(0, "write", [10, 11, 12, 13]);
    expect(window.completedBefore(12)).toEqual([10, 11]);
    expect(window.completedBefore(12)).toEqual([]);
    expect(window.completedBefore(13)).toEqual([12]);
    expect(window.rest()).toEqual([13]);
    expect(window.rest()).toEqual([]);
  });

  test("faults elsewhere end nothing", () => {
    const window = new GuestWindow(0, "read", [10, 11]);
    expect(window.completedBefore(2)).toEqual([]);
    expect(window.completedBefore(11)).toEqual([10]);
    expect(window.completedBefore(10)).toEqual([]);
  });
});
