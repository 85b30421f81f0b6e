import { type KvmRmapHead, pteListCount } from "@kvm-age/rmap";
import {
  type Gfn,
  isShadowPresentPte,
  roleFields,
  SHADOW_NONPRESENT_VALUE,
  type Spte,
  spteToPfn,
} from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { dropParentPte } from "../../src/link/drop-parent-pte.js";
import { kvmMmuChildRole } from "../../src/link/kvm-mmu-child-role.js";
import { kvmMmuGetChildSp } from "../../src/link/kvm-mmu-get-child-sp.js";
import { linkShadowPage } from "../../src/link/link-shadow-page.js";
import { validateDirectSpte } from "../../src/link/validate-direct-spte.js";
import { type KvmMmuPage, parentPtes, spSpt, spSptep } from "../../src/page/kvm-mmu-page.js";
import { sptepToSp, spteToChildSp } from "../../src/page/sptep-to-sp.js";
import {
  kvmMmuPageGetAccess,
  kvmMmuPageGetGfn,
  kvmMmuPageSetAccess,
  kvmMmuPageSetTranslation,
} from "../../src/page/translation.js";
import { mmuPageZapPte } from "../../src/zap/kvm-mmu-prepare-zap-page.js";
import { longMode } from "../guest/kit/registers.js";
import { leafOf, shadowPath } from "../guest/kit/shadow-path.js";
import { ShadowGuest } from "../kit/shadow-guest.js";
import {
  activePages,
  entry,
  expectSound,
  getPage,
  isUnsync,
  LEAF,
  link,
  longModeGuest,
  nestedGuest,
  roleLike,
  unsync,
  unsyncChildren,
  usedPages,
  WRITE,
} from "./kit/pages.js";

function parents(guest: ShadowGuest, sp: KvmMmuPage): number {
  return pteListCount(guest.cpu, parentPtes(sp) as KvmRmapHead);
}

describe("kvm_mmu_child_role", () => {
  it("is the parent's, one level lower, with the access and directness asked for", () => {
    const { guest, root } = longModeGuest();
    const { rules } = guest.format;
    const role = kvmMmuChildRole(guest.mmu, guest.cpu, spSptep(guest.cpu, root, 7), false, rules.accExecMask);
    expect(role).toBe(roleLike(guest, { level: 3, access: rules.accExecMask }));
    const direct = kvmMmuChildRole(guest.mmu, guest.cpu, spSptep(guest.cpu, root, 7), true, rules.accAll);
    expect(roleFields(rules, direct)).toMatchObject({ level: 3, direct: true, access: rules.accAll });
  });

  it("is never passthrough", () => {
    const { guest } = longModeGuest();
    const top = getPage(guest, 80, { level: 5, passthrough: true });
    const { rules } = guest.format;
    const role = kvmMmuChildRole(guest.mmu, guest.cpu, spSptep(guest.cpu, top, 0), false, rules.accAll);
    expect(roleFields(rules, role)).toMatchObject({ level: 4, passthrough: false });
  });
});

describe("kvm_mmu_get_child_sp", () => {
  it("gives a page of the child's role, or null if the entry points to a table already", () => {
    const { guest, root } = longModeGuest();
    const { mmu, cpu, vcpu } = guest;
    const { accAll } = guest.format.rules;
    const sptep = spSptep(cpu, root, 3);
    const get = () =>
      guest.underWriteLock(() => kvmMmuGetChildSp(mmu, cpu, vcpu, sptep, 81 as Gfn, false, accAll));
    const child = get()!;
    expect(child).toBe(getPage(guest, 81, { level: 3 }));
    link(guest, root, 3, child);
    expect(get()).toBeNull();
    expectSound(guest);
  });

  it("gives one for an entry that maps a huge page", () => {
    const { guest, tables } = longModeGuest({ hugeLevel: 2 });
    tables.map(0x40000000, 1024, LEAF | 0x80n, 2);
    guest.fault(0x40000000, WRITE);
    const { sptep, level } = leafOf(guest, 0x40000000)!;
    expect(level).toBe(2);
    const { mmu, cpu, vcpu } = guest;
    const child = guest.underWriteLock(() =>
      kvmMmuGetChildSp(mmu, cpu, vcpu, sptep, 1024 as Gfn, true, guest.format.rules.accAll),
    );
    expect(child).not.toBeNull();
  });
});

describe("link_shadow_page", () => {
  it("points the entry to the table and the table back", () => {
    const { guest, root } = longModeGuest();
    const child = getPage(guest, 82, { level: 3 });
    link(guest, root, 9, child);
    const spte = entry(guest, root, 9) as Spte;
    expect(spteToPfn(guest.format, spte) * 4096).toBe(spSpt(guest.cpu, child));
    expect(spteToChildSp(guest.mmu, guest.cpu, spte)).toBe(child);
    expect(sptepToSp(guest.mmu, guest.cpu, spSptep(guest.cpu, root, 9))).toBe(root);
    expect(parents(guest, child)).toBe(1);
    expectSound(guest);
  });

  it("keeps more parents than a descriptor holds, and loses them one by one", () => {
    const { guest, root } = longModeGuest();
    const child = getPage(guest, 83, { level: 3 });
    for (let index = 0; index < 30; index++) {
      guest.vcpu.topUpMemoryCaches(guest.cpu, true);
      link(guest, root, index, child);
    }
    expect(parents(guest, child)).toBe(30);
    expectSound(guest);
    guest.underWriteLock(() => {
      for (const index of [0, 29, 14, 13, 15])
        dropParentPte(guest.mmu, guest.cpu, child, spSptep(guest.cpu, root, index));
    });
    expect(parents(guest, child)).toBe(25);
    expect(entry(guest, root, 14)).toBe(SHADOW_NONPRESENT_VALUE);
    expectSound(guest);
  });

  it("replaces a huge leaf, and flushes its range if asked to", () => {
    for (const flush of [true, false]) {
      const { guest, tables } = longModeGuest({ hugeLevel: 2 });
      tables.map(0x40000000, 1024, LEAF | 0x80n, 2);
      guest.fault(0x40000000, WRITE);
      const { sptep } = leafOf(guest, 0x40000000)!;
      const small = getPage(guest, 1024, { level: 1, direct: true });
      const cpu = new RecordingCpu(guest.cpu);
      guest.underWriteLock(
        () => linkShadowPage(guest.mmu, cpu, guest.vcpu.pteListDescCache, sptep, small, flush),
        cpu,
      );
      expect(cpu.only("flush")).toEqual(flush ? ["flush"] : []);
      expect([guest.statistic("pages_2m"), parents(guest, small)]).toEqual([0, 1]);
      expectSound(guest);
    }
  });

  it("replaces another table, which stays cached", () => {
    const { guest, root } = longModeGuest();
    const first = getPage(guest, 84, { level: 3 });
    const second = getPage(guest, 85, { level: 3 });
    link(guest, root, 1, first);
    const cpu = new RecordingCpu(guest.cpu);
    link(guest, root, 1, second, cpu);
    expect([parents(guest, first), parents(guest, second)]).toEqual([0, 1]);
    expect(activePages(guest)).toContain(first);
    expect(cpu.only("flush")).toEqual(["flush"]);
    expectSound(guest);
  });

  it("replaces a nested table that had no other parent by zapping it, with the commit's flush only", () => {
    const { guest, root } = nestedGuest();
    const first = getPage(guest, 86, { level: 3 });
    link(guest, first, 0, getPage(guest, 87, { level: 2 }));
    link(guest, root, 1, first);
    const second = getPage(guest, 89, { level: 3 });
    const used = usedPages(guest);
    const cpu = new RecordingCpu(guest.cpu);
    link(guest, root, 1, second, cpu);
    const zapped = cpu.events.filter(({ name }) => name === "kvm_mmu_prepare_zap_page");
    expect(zapped.map(({ fields }) => fields.gfn)).toEqual([86, 87]);
    expect(cpu.only("flush")).toEqual(["flush"]);
    expect(usedPages(guest)).toBe(used - 2);
    expectSound(guest);
  });

  it("keeps a nested table that has another parent, or that no list is given for", () => {
    const { guest, root } = nestedGuest();
    const first = getPage(guest, 86, { level: 3 });
    link(guest, root, 1, first);
    link(guest, root, 2, first);
    link(guest, root, 1, getPage(guest, 89, { level: 3 }));
    expect([activePages(guest).includes(first), parents(guest, first)]).toEqual([true, 1]);
    guest.underWriteLock(() => mmuPageZapPte(guest.mmu, guest.cpu, root, spSptep(guest.cpu, root, 2), null));
    expect([activePages(guest).includes(first), parents(guest, first)]).toEqual([true, 0]);
    expectSound(guest);
  });

  it("flushes the range of a link in a linear table", () => {
    const guest = new ShadowGuest({ mode: "npt", hugeLevel: 2 });
    guest.load(longMode());
    guest.fault(1024 * 4096, WRITE);
    const { sptep } = leafOf(guest, 1024 * 4096)!;
    const small = getPage(guest, 1024, { level: 1 });
    const cpu = new RecordingCpu(guest.cpu);
    guest.underWriteLock(
      () => linkShadowPage(guest.mmu, cpu, guest.vcpu.pteListDescCache, sptep, small, true),
      cpu,
    );
    expect(cpu.only("flush")).toEqual(["flush 0x400+512"]);
    expectSound(guest);
  });

  it("marks the way to a page that is unsync", () => {
    const { guest, root } = longModeGuest();
    const upper = getPage(guest, 90, { level: 3 });
    const middle = getPage(guest, 91, { level: 2 });
    const leafTable = getPage(guest, 92, { level: 1 });
    link(guest, root, 0, upper);
    link(guest, upper, 5, middle);
    unsync(guest, 92);
    link(guest, middle, 6, leafTable);
    expect([
      unsyncChildren(guest, middle),
      unsyncChildren(guest, upper),
      unsyncChildren(guest, root),
    ]).toEqual([1, 1, 1]);
    expectSound(guest);
  });

  it("refuses a page whose children are unsync", () => {
    const { guest, root } = longModeGuest();
    const upper = getPage(guest, 93, { level: 3 });
    const middle = getPage(guest, 94, { level: 2 });
    const leafTable = getPage(guest, 95, { level: 1 });
    link(guest, upper, 0, middle);
    link(guest, middle, 0, leafTable);
    unsync(guest, 95);
    expect(isUnsync(guest, leafTable)).toBe(true);
    expect(() => link(guest, root, 0, upper)).toThrow(
      /before its children were synchronised.*unsyncChildren 0x1/,
    );
  });

  it("asks for mmu_lock", () => {
    const { guest, root } = longModeGuest();
    const child = getPage(guest, 96, { level: 3 });
    const { mmu, cpu, vcpu } = guest;
    const linkUnlocked = () =>
      linkShadowPage(mmu, cpu, vcpu.pteListDescCache, spSptep(cpu, root, 0), child, true);
    expect(linkUnlocked).toThrow(/"kvm->mmu_lock" must be held for write/);
  });
});

describe("validate_direct_spte", () => {
  const setUp = () => {
    const { guest, tables } = longModeGuest();
    tables.map(0x40000000, 1024, LEAF | 0x80n, 2);
    guest.fault(0x40000000, WRITE);
    const step = shadowPath(guest, 0x40000000).find(({ level }) => level === 2)!;
    const validate = (access: number, cpu = new RecordingCpu(guest.cpu)) => {
      guest.underWriteLock(() => validateDirectSpte(guest.mmu, cpu, guest.vcpu, step.sptep, access), cpu);
      return cpu.only("flush");
    };
    return { guest, step, validate };
  };

  it("leaves a table of the same access alone", () => {
    const { guest, step, validate } = setUp();
    expect(validate(guest.format.rules.accAll)).toEqual([]);
    expect(isShadowPresentPte(guest.cpu.readOnce(step.sptep) as Spte)).toBe(true);
  });

  it("drops the link to a table of another access and flushes what it mapped; does nothing twice", () => {
    const { guest, step, validate } = setUp();
    const { accAll, accWriteMask } = guest.format.rules;
    expect(validate(accAll & ~accWriteMask)).toEqual(["flush"]);
    expect(guest.cpu.readOnce(step.sptep)).toBe(SHADOW_NONPRESENT_VALUE);
    expect(validate(accAll & ~accWriteMask)).toEqual([]);
    expectSound(guest);
  });
});

describe("translations", () => {
  it("are recorded by indirect pages", () => {
    const { guest } = longModeGuest();
    const { mmu, cpu } = guest;
    const sp = getPage(guest, 97, { level: 2 });
    kvmMmuPageSetTranslation(mmu, cpu, sp, 511, (2 ** 40 - 1) as Gfn, 9);
    expect([kvmMmuPageGetGfn(mmu, cpu, sp, 511), kvmMmuPageGetAccess(mmu, cpu, sp, 511)]).toEqual([
      2 ** 40 - 1,
      9,
    ]);
    kvmMmuPageSetAccess(mmu, cpu, sp, 511, 3);
    expect([kvmMmuPageGetGfn(mmu, cpu, sp, 511), kvmMmuPageGetAccess(mmu, cpu, sp, 511)]).toEqual([
      2 ** 40 - 1,
      3,
    ]);
  });

  it("follow from the place in direct pages, and may not be set otherwise", () => {
    const { guest } = longModeGuest();
    const { mmu, cpu } = guest;
    const { accAll } = guest.format.rules;
    const sp = getPage(guest, 512, { level: 2, direct: true });
    expect(kvmMmuPageGetGfn(mmu, cpu, sp, 3)).toBe(512 + 3 * 512);
    kvmMmuPageSetTranslation(mmu, cpu, sp, 3, (512 + 3 * 512) as Gfn, accAll);
    expect(() => kvmMmuPageSetTranslation(mmu, cpu, sp, 3, 5 as Gfn, accAll)).toThrow(
      /differs.*gfn 0x5.*ownGfn 0x800/,
    );
    expect(() => kvmMmuPageSetAccess(mmu, cpu, sp, 3, 0)).toThrow(/differs/);
  });

  it("are the page's own gfn in a passthrough table", () => {
    const { guest } = longModeGuest();
    const top = getPage(guest, 98, { level: 5, passthrough: true });
    expect(kvmMmuPageGetGfn(guest.mmu, guest.cpu, top, 1)).toBe(98);
  });
});
