import { type Cpu, offset } from "@kvm-age/machine";
import { kvmMmuGfnAllowLpage, kvmWriteTrackRemoveGfn } from "@kvm-age/memslot";
import type { Gfn } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { checkShadowPageInvariants } from "../../src/check/check-shadow-page-invariants.js";
import { accountNxHugePage } from "../../src/huge/nx-huge-pages.js";
import {
  gfnWord,
  hashNextWord,
  type KvmMmuPage,
  linkPreviousWord,
  mmuValidGenWord,
  nxHugePageDisallowedWord,
  parentPtes,
  roleWord,
  rootCountWord,
  shadowedTranslationWord,
  spRole,
  spSpt,
  spSptep,
  unsyncChildBitmapWord,
  unsyncChildrenWord,
  unsyncWord,
} from "../../src/page/kvm-mmu-page.js";
import type { ShadowGuest } from "../kit/shadow-guest.js";
import { expectSound, getPage, link, longModeGuest, roleLike, unsync, zap } from "./kit/pages.js";

interface Tree {
  readonly guest: ShadowGuest;
  readonly cpu: Cpu;
  readonly root: KvmMmuPage;
  readonly upper: KvmMmuPage;
  readonly middle: KvmMmuPage;
  readonly leaf: KvmMmuPage;
}

/** root ─1─ upper ─2─ middle ─3─ leaf, the leaf unsync. */
function tree(): Tree {
  const { guest, root } = longModeGuest();
  const upper = getPage(guest, 40, { level: 3 });
  const middle = getPage(guest, 41, { level: 2 });
  const leaf = getPage(guest, 42, { level: 1 });
  link(guest, root, 1, upper);
  link(guest, upper, 2, middle);
  link(guest, middle, 3, leaf);
  unsync(guest, 42);
  expectSound(guest);
  return { guest, cpu: guest.cpu, root, upper, middle, leaf };
}

const BREAKS: readonly [string, (tree: Tree) => void, RegExp][] = [
  [
    "a page in another gfn's bucket",
    ({ cpu, leaf }) => cpu.writeOnce(gfnWord(leaf), 43n),
    /gfn 0x2b level 1.*: in bucket \d+/,
  ],
  [
    "a page in the hash twice",
    ({ cpu, leaf }) => cpu.writeOnce32(hashNextWord(leaf), leaf),
    /: in the hash twice/,
  ],
  [
    "a table that leads back to another page",
    ({ guest, cpu, leaf, root }) => guest.mmu.frames.writePrivate(cpu, spSpt(cpu, leaf), root),
    /its table leads back to 0x/,
  ],
  [
    "a page without room for translations",
    ({ cpu, leaf }) => cpu.writeOnce32(shadowedTranslationWord(leaf), 0),
    /translations recorded: false/,
  ],
  [
    "two valid pages of a gfn and role",
    ({ guest, cpu, leaf }) => {
      const other = getPage(guest, 42, { level: 1, access: 0 });
      cpu.writeOnce32(roleWord(other), spRole(cpu, leaf));
    },
    /another valid page has this gfn and role/,
  ],
  [
    "a torn list",
    ({ cpu, middle }) => cpu.writeOnce32(linkPreviousWord(middle), 0),
    /active_mmu_pages: page 0x\w+ has another one before/,
  ],
  [
    "an active page behind an obsolete one",
    ({ cpu, leaf }) => cpu.writeOnce32(mmuValidGenWord(leaf), 1),
    /level 2.*: behind an obsolete page/,
  ],
  [
    "a valid page that is not on the list",
    ({ guest, cpu, middle }) => guest.mmu.activeMmuPages.remove(cpu, middle),
    /level 2.*: valid, yet not active/,
  ],
  [
    "an invalid page on the list, linked and no root",
    ({ guest, cpu, middle }) =>
      cpu.writeOnce32(roleWord(middle), roleLike(guest, { level: 2, invalid: true })),
    /level 2.*: invalid, yet active/,
  ],
  [
    "an invalid page that nobody has as a root",
    ({ guest, cpu, root }) => {
      zap(guest, root);
      cpu.writeOnce32(rootCountWord(root), 0);
    },
    /level 4.*: invalid, yet no root/,
  ],
  [
    "an entry in an invalid page",
    ({ guest, cpu, root }) => {
      const entry = cpu.readOnce(spSptep(cpu, root, 1));
      zap(guest, root);
      cpu.writeOnce(spSptep(cpu, root, 7), entry);
    },
    /level 4.*: invalid, yet entry 7 is in use/,
  ],
  [
    "an entry that leads to no page",
    ({ cpu, middle, leaf }) => {
      const sptep = spSptep(cpu, middle, 3);
      cpu.writeOnce(offset(sptep, 8), cpu.readOnce(sptep) - BigInt(spSpt(cpu, leaf)) + 0x1000n);
    },
    /level 2.* entry 4: points to 0x0?\w*, which is no page/,
  ],
  [
    "a link that the child does not know of",
    ({ cpu, middle }) =>
      cpu.writeOnce(offset(spSptep(cpu, middle, 3), 8), cpu.readOnce(spSptep(cpu, middle, 3))),
    /level 1.*: entry 0x\w+ points to it unlisted/,
  ],
  [
    "a parent that does not point to its child",
    ({ cpu, middle }) => cpu.writeOnce(spSptep(cpu, middle, 3), 0x8000000000000000n),
    /level 1.*: parent 0x\w+ does not point to it/,
  ],
  [
    "a list of parents that is none",
    ({ cpu, leaf }) => cpu.writeOnce(parentPtes(leaf), 1n),
    /level 1.* parent_ptes: .*KVM_RMAP_MANY without an address/,
  ],
  [
    "a child of the wrong role",
    ({ guest, cpu, leaf }) => cpu.writeOnce32(roleWord(leaf), roleLike(guest, { level: 1, guestMode: true })),
    /level 2.* entry 3: page .* has no role of a child/,
  ],
  [
    "an unsync page without a mark above it",
    ({ cpu, upper }) => {
      cpu.writeOnce32(unsyncChildBitmapWord(upper, 2), 0);
      cpu.writeOnce32(unsyncChildrenWord(upper), 0);
    },
    /level 3.* entry 2: not marked, yet page .* leads to an unsync page/,
  ],
  [
    "a count of marks that is wrong",
    ({ cpu, root }) => cpu.writeOnce32(unsyncChildrenWord(root), 2),
    /level 4.*: unsync_children 2, 1 marks/,
  ],
  [
    "an unsync page above level 1",
    ({ cpu, middle }) => cpu.writeOnce32(unsyncWord(middle), 1),
    /level 2.*: unsync$/,
  ],
  [
    "a count of unsync pages that is wrong",
    ({ guest, cpu }) => cpu.writeOnce32(guest.mmu.statistics.word("mmu_unsync"), 0),
    /mmu_unsync is 0, 1 pages are unsync/,
  ],
  [
    "a count of pages that is wrong",
    ({ guest, cpu }) => cpu.writeOnce32(guest.mmu.nUsedMmuPagesWord, 9),
    /mmu_shadow_pages is 9, 4 pages are in the hash/,
  ],
  [
    "a count of indirect pages that is wrong",
    ({ guest, cpu }) => cpu.writeOnce32(guest.mmu.indirectShadowPagesWord, 3),
    /indirect_shadow_pages is 3, 4 pages shadow guest tables/,
  ],
  [
    "a shadowed table in no slot",
    ({ cpu, middle }) => cpu.writeOnce(gfnWord(middle), 0x2000n),
    /gfn 0x2000 of address space 0: shadowed, yet in no slot/,
  ],
  [
    "a shadowed table above level 1 that nobody tracks",
    ({ guest, cpu }) => {
      guest.underWriteLock(() => kvmWriteTrackRemoveGfn(guest.memslots, cpu, guest.slot, 41 as Gfn));
    },
    /gfn 0x29 of address space 0: write-tracked 0 times by 1 pages/,
  ],
  [
    "a shadowed table that may be mapped huge",
    ({ guest, cpu }) => {
      for (let count = 0; count < 4; count++) kvmMmuGfnAllowLpage(cpu, guest.slot, 42 as Gfn);
    },
    /gfn 0x2a of address space 0: disallow_lpage 0, 1 pages/,
  ],
  [
    "a table on the recovery list that is not there for the mitigation",
    ({ guest, cpu, leaf }) => {
      guest.underWriteLock(() => accountNxHugePage(guest.mmu, cpu, leaf, true));
      cpu.writeOnce32(nxHugePageDisallowedWord(leaf), 0);
    },
    /on possible_nx_huge_pages, yet not for the mitigation/,
  ],
  [
    "a recovery list of another length",
    ({ guest, cpu }) => cpu.writeOnce32(guest.mmu.possibleNxCountWord, 1),
    /possible_nx_huge_pages: 1 tables counted, 0 found/,
  ],
];

describe("checkShadowPageInvariants", () => {
  it.each(BREAKS)("finds %s", (_what, breakIt, sentence) => {
    const broken = tree();
    breakIt(broken);
    const violations = checkShadowPageInvariants(broken.guest.mmu, broken.cpu);
    expect(
      violations.some((violation) => sentence.test(violation)),
      violations.join("\n"),
    ).toBe(true);
  });

  it("finds nothing wrong with a tree", () => {
    const { guest, cpu } = tree();
    expect(checkShadowPageInvariants(guest.mmu, cpu)).toEqual([]);
  });
});
