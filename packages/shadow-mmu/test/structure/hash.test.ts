import { type Gfn, linux73, linux615, SHADOW_NONPRESENT_VALUE } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmMmuFindShadowPage } from "../../src/hash/kvm-mmu-find-shadow-page.js";
import { getShadowPageFromCaches } from "../../src/hash/kvm-mmu-get-shadow-page.js";
import { firstHashedSp, kvmPageTableHashfn, nextHashedSp } from "../../src/hash/page-hash.js";
import {
  mmuValidGenWord,
  NO_PAGE,
  shadowedTranslationWord,
  spGfn,
  spRole,
  spSpt,
  writeFloodingCountWord,
} from "../../src/page/kvm-mmu-page.js";
import { ShadowGuest } from "../kit/shadow-guest.js";
import {
  activePages,
  entry,
  expectSound,
  getPage,
  isInvalid,
  isUnsync,
  LEAF,
  longModeGuest,
  roleLike,
  unsync,
  usedPages,
  WRITE,
  zap,
} from "./kit/pages.js";

const gfn = (value: number): Gfn => value as Gfn;

/** Two gfns of one bucket, found by search so that the test does not depend on which. */
function collidingGfns(): [number, number] {
  const byBucket = new Map<number, number>();
  for (let candidate = 20; ; candidate++) {
    const bucket = kvmPageTableHashfn(gfn(candidate));
    const other = byBucket.get(bucket);
    if (other !== undefined) return [other, candidate];
    byBucket.set(bucket, candidate);
  }
}

describe("kvm_page_table_hashfn", () => {
  it.each([
    [1, 1564],
    [2, 3129],
    [0x12345, 1210],
    [0xfee00, 1199],
    [0, 0],
  ])("puts gfn %i into bucket %i", (value, bucket) => {
    expect(kvmPageTableHashfn(gfn(value))).toBe(bucket);
  });

  it("stays below 4096 for the largest gfn", () => {
    expect(kvmPageTableHashfn(gfn(2 ** 40 - 1))).toBeLessThan(4096);
  });
});

describe("kvm_mmu_get_shadow_page", () => {
  it("makes a page once, and finds it from then on", () => {
    const { guest } = longModeGuest();
    const cpu = new RecordingCpu(guest.cpu);
    const misses = guest.statistic("mmu_cache_miss");
    const sp = getPage(guest, 50, { level: 1 }, cpu);
    expect(guest.statistic("mmu_cache_miss")).toBe(misses + 1);
    expect(getPage(guest, 50, { level: 1 }, cpu)).toBe(sp);
    expect(guest.statistic("mmu_cache_miss")).toBe(misses + 1);
    const made = cpu.events
      .filter(({ name }) => name === "kvm_mmu_get_page")
      .map(({ fields }) => fields.created);
    expect(made).toEqual([true, false]);
    expect(cpu.events.at(-1)?.fields).toMatchObject({
      gfn: 50,
      level: 1,
      byte: 8,
      direct: false,
      gen: 0,
      unsync: false,
    });
    expectSound(guest);
  });

  it("fills in the page: empty table that leads back, translations up to level 3 if indirect", () => {
    const { guest, root } = longModeGuest();
    const sp = getPage(guest, 51, { level: 3 });
    expect([spGfn(guest.cpu, sp), spRole(guest.cpu, sp)]).toEqual([51, roleLike(guest, { level: 3 })]);
    expect(guest.mmu.frames.readPrivate(guest.cpu, spSpt(guest.cpu, sp))).toBe(sp);
    expect(entry(guest, sp, 511)).toBe(SHADOW_NONPRESENT_VALUE);
    const recorded = [sp, root, getPage(guest, 0, { level: 1, direct: true })].map(
      (page) => guest.cpu.readOnce32(shadowedTranslationWord(page)) !== 0,
    );
    expect(recorded).toEqual([true, false, false]);
    expect(activePages(guest)[0]).not.toBe(root);
    expect(activePages(guest).at(-1)).toBe(root);
    expect(usedPages(guest)).toBe(3);
    expectSound(guest);
  });

  it("keeps pages of one gfn with other roles apart", () => {
    const { guest } = longModeGuest();
    const { accAll, accWriteMask } = guest.format.rules;
    const all = getPage(guest, 52, { level: 1 });
    const readOnly = getPage(guest, 52, { level: 1, access: accAll & ~accWriteMask });
    const direct = getPage(guest, 52, { level: 1, direct: true });
    const upper = getPage(guest, 52, { level: 2 });
    expect(new Set([all, readOnly, direct, upper]).size).toBe(4);
    expectSound(guest);
  });

  it("counts other gfns of the bucket as collisions, and keeps the maximum", () => {
    const { guest } = longModeGuest();
    const [first, second] = collidingGfns();
    const before = guest.statistic("max_mmu_page_hash_collisions");
    const one = getPage(guest, first, { level: 1 });
    getPage(guest, second, { level: 1 });
    expect(guest.statistic("max_mmu_page_hash_collisions")).toBe(before + 1);
    getPage(guest, 53, { level: 1 });
    expect(guest.statistic("max_mmu_page_hash_collisions")).toBe(before + 1);
    const head = firstHashedSp(guest.mmu, guest.cpu, gfn(first));
    expect(nextHashedSp(guest.cpu, head)).toBe(one);
    zap(guest, one);
    expect(nextHashedSp(guest.cpu, firstHashedSp(guest.mmu, guest.cpu, gfn(second)))).toBe(NO_PAGE);
    expectSound(guest);
  });

  it("does not find an obsolete page", () => {
    const { guest } = longModeGuest();
    const old = getPage(guest, 54, { level: 1 });
    guest.cpu.writeOnce32(guest.mmu.mmuValidGenWord, 1);
    const fresh = getPage(guest, 54, { level: 1 });
    expect(fresh).not.toBe(old);
    expect(guest.cpu.readOnce32(mmuValidGenWord(fresh))).toBe(1);
    expect(getPage(guest, 54, { level: 1 })).toBe(fresh);
  });

  it("does not find a zapped page that is still a root", () => {
    const { guest, root, tables } = longModeGuest();
    zap(guest, root);
    expect(isInvalid(guest, root)).toBe(true);
    expect(getPage(guest, tables.rootGfn, { level: 4 })).not.toBe(root);
    expectSound(guest);
  });

  it("forgets write flooding of the page it finds", () => {
    const { guest } = longModeGuest();
    const sp = getPage(guest, 55, { level: 1 });
    guest.cpu.writeOnce32(writeFloodingCountWord(sp), 2);
    getPage(guest, 55, { level: 1 });
    expect(guest.cpu.readOnce32(writeFloodingCountWord(sp))).toBe(0);
  });

  it("refuses an unsync page without a vCPU, and an indirect one from caches for direct pages", () => {
    const { guest } = longModeGuest();
    getPage(guest, 56, { level: 1 });
    unsync(guest, 56);
    const role = roleLike(guest, { level: 1 });
    const find = () => kvmMmuFindShadowPage(guest.mmu, guest.cpu, null, gfn(56), role);
    expect(() => guest.underWriteLock(find)).toThrow(/without a vCPU.*gfn 0x38/);
    const other = longModeGuest().guest;
    const headers = other.vcpu.pageHeaderCache;
    const caches = { headers, shadowPages: other.vcpu.shadowPageCache, shadowedInfo: null };
    const get = () => getShadowPageFromCaches(other.mmu, other.cpu, null, caches, gfn(56), role);
    expect(() => other.underWriteLock(get)).toThrow(/split into an indirect page/);
  });

  it("asks for mmu_lock", () => {
    const { guest } = longModeGuest();
    const role = roleLike(guest, { level: 1 });
    const { vcpu } = guest;
    const caches = {
      headers: vcpu.pageHeaderCache,
      shadowPages: vcpu.shadowPageCache,
      shadowedInfo: vcpu.shadowedInfoCache,
    };
    expect(() => getShadowPageFromCaches(guest.mmu, guest.cpu, vcpu, caches, gfn(57), role)).toThrow(
      /kvm->mmu_lock.*write/,
    );
  });
});

describe("an unsync page in the way", () => {
  it("is zapped if the gfn is wanted above level 1", () => {
    const { guest } = longModeGuest();
    const leafTable = getPage(guest, 60, { level: 1 });
    expect(unsync(guest, 60)).toBe(0);
    const cpu = new RecordingCpu(guest.cpu);
    const upper = getPage(guest, 60, { level: 2 }, cpu);
    expect(cpu.only("kvm_mmu_prepare_zap_page", "kvm_mmu_sync_page")).toEqual([
      "kvm_mmu_prepare_zap_page",
      "kvm_mmu_sync_page",
    ]);
    expect(activePages(guest)).not.toContain(leafTable);
    expect(activePages(guest)[0]).toBe(upper);
    expect(guest.statistic("mmu_unsync")).toBe(0);
    expectSound(guest);
  });

  it("stays if the gfn is wanted at level 1 with another role", () => {
    const { guest } = longModeGuest();
    const { accAll, accWriteMask } = guest.format.rules;
    const first = getPage(guest, 61, { level: 1 });
    unsync(guest, 61);
    getPage(guest, 61, { level: 1, access: accAll & ~accWriteMask });
    expect(isUnsync(guest, first)).toBe(true);
    expectSound(guest);
  });

  it("is synchronised when it is found, and stays unsync", () => {
    const { guest, tables } = longModeGuest();
    tables.map(0x400000, 300, LEAF);
    guest.fault(0x400000, WRITE);
    const table = tables.tableGfn(0x400000, 1);
    const sp = getPage(guest, table, { level: 1 });
    unsync(guest, table);
    tables.map(0x400000, 301, LEAF);
    const cpu = new RecordingCpu(guest.cpu);
    expect(getPage(guest, table, { level: 1 }, cpu)).toBe(sp);
    expect(entry(guest, sp, 0)).toBe(SHADOW_NONPRESENT_VALUE);
    expect(isUnsync(guest, sp)).toBe(true);
    expect(cpu.only("flush", "kvm_mmu_get_page")).toEqual(["flush", "kvm_mmu_get_page"]);
    expectSound(guest);
  });

  it("is found without a flush if nothing changed", () => {
    const { guest, tables } = longModeGuest();
    tables.map(0x400000, 300, LEAF);
    guest.fault(0x400000, WRITE);
    const table = tables.tableGfn(0x400000, 1);
    unsync(guest, table);
    const cpu = new RecordingCpu(guest.cpu);
    getPage(guest, table, { level: 1 }, cpu);
    expect(cpu.only("flush")).toEqual([]);
  });

  it("is zapped and made anew if the guest's table cannot be read", () => {
    const { guest, tables } = longModeGuest();
    tables.map(0x400000, 300, LEAF);
    guest.fault(0x400000, WRITE);
    const table = tables.tableGfn(0x400000, 1);
    const sp = getPage(guest, table, { level: 1 });
    unsync(guest, table);
    guest.host.missing.add(table);
    const cpu = new RecordingCpu(guest.cpu);
    getPage(guest, table, { level: 1 }, cpu);
    const zapped = cpu.events.filter(({ name }) => name === "kvm_mmu_prepare_zap_page");
    expect(zapped.map(({ fields }) => fields.gfn)).toEqual([table]);
    expect(cpu.events.at(-1)?.fields).toMatchObject({ created: true, gfn: table, unsync: false });
    // The slab may hand the same descriptor out again; the table is empty either way.
    expect(entry(guest, activePages(guest)[0]!, 0)).toBe(SHADOW_NONPRESENT_VALUE);
    expect(sp).not.toBe(NO_PAGE);
    expectSound(guest);
  });
});

describe("the hash itself", () => {
  const find = (guest: ShadowGuest) => firstHashedSp(guest.mmu, guest.cpu, gfn(1));
  const hash = (guest: ShadowGuest) => guest.cpu.readOnce32(guest.mmu.pageHashWord);

  it("comes with the first shadow root in 7.3 with the TDP MMU; lookups before find nothing", () => {
    const guest = new ShadowGuest({ mode: "npt", tdpMmuEnabled: true, ruleSet: linux73 });
    expect([hash(guest), guest.underWriteLock(() => find(guest))]).toEqual([0, NO_PAGE]);
  });

  it.each([
    ["7.3 without the TDP MMU", linux73, false],
    ["6.15 with the TDP MMU", linux615, true],
    ["6.15 without the TDP MMU", linux615, false],
  ])("comes with the VM in %s", (_name, ruleSet, tdpMmuEnabled) => {
    const guest = new ShadowGuest({ mode: "npt", tdpMmuEnabled, ruleSet });
    expect(hash(guest)).not.toBe(0);
  });
});
