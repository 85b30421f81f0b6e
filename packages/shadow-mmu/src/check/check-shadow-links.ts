import { checkRmapHead, pteListCount } from "@kvm-age/rmap";
import { isLastSpte, isShadowPresentPte, type Spte } from "@kvm-age/spte";
import { forEachParentPte } from "../link/parent-ptes.js";
import {
  type KvmMmuPage,
  parentPtes,
  SPTE_ENT_PER_PAGE,
  spSptep,
  unsyncChildBitmapWord,
  unsyncChildrenWord,
  unsyncWord,
} from "../page/kvm-mmu-page.js";
import { spteToChildSp } from "../page/sptep-to-sp.js";
import { fieldsOf, hex, nameOf, type ShadowPageCensus } from "./shadow-page-census.js";

/** One entry that points to a table. */
interface ChildLink {
  readonly parent: KvmMmuPage;
  readonly index: number;
  readonly child: KvmMmuPage;
}

function childLinks(census: ShadowPageCensus): ChildLink[] {
  const { mmu, cpu, pages } = census;
  const links: ChildLink[] = [];
  for (const parent of pages.keys()) {
    const { level } = fieldsOf(census, parent);
    for (let index = 0; index < SPTE_ENT_PER_PAGE; index++) {
      const spte = cpu.readOnce(spSptep(cpu, parent, index)) as Spte;
      if (!isShadowPresentPte(spte) || isLastSpte(spte, level)) continue;
      links.push({ parent, index, child: spteToChildSp(mmu, cpu, spte) });
    }
  }
  return links;
}

/** Roles of parent and child fit (§16.6). */
function checkRoles(census: ShadowPageCensus, { parent, index, child }: ChildLink): void {
  const above = fieldsOf(census, parent);
  const below = fieldsOf(census, child);
  const fits =
    below.level === above.level - 1 &&
    (!above.direct || below.direct) &&
    below.smm === above.smm &&
    below.guestMode === above.guestMode &&
    below.adDisabled === above.adDisabled;
  if (fits) return;
  census.violations.push(
    `${nameOf(census, parent)} entry ${index}: ${nameOf(census, child)} has no role of a child`,
  );
}

function isMarked(census: ShadowPageCensus, { parent, index }: ChildLink): boolean {
  const word = census.cpu.readOnce32(unsyncChildBitmapWord(parent, index));
  return ((word >>> (index & 31)) & 1) === 1;
}

/** What is unsync, or leads to something that is, is marked by every entry that points to it (§16.4). */
function checkMark(census: ShadowPageCensus, link: ChildLink): void {
  const { cpu } = census;
  const { child } = link;
  const unsync = cpu.readOnce32(unsyncWord(child)) !== 0 || cpu.readOnce32(unsyncChildrenWord(child)) !== 0;
  if (!unsync || isMarked(census, link)) return;
  const entry = `${nameOf(census, link.parent)} entry ${link.index}`;
  census.violations.push(`${entry}: not marked, yet ${nameOf(census, child)} leads to an unsync page`);
}

/** Links and `parent_ptes` are each other's inverse (§16.5): all links are listed, and there are as many of both. */
function checkParents(census: ShadowPageCensus, sp: KvmMmuPage, linked: ReadonlySet<number>): void {
  const { cpu, violations } = census;
  for (const violation of checkRmapHead(cpu, parentPtes(sp))) {
    violations.push(`${nameOf(census, sp)} parent_ptes: ${violation}`);
  }
  const listed = new Set<number>();
  forEachParentPte(cpu, sp, (parentPte) => {
    listed.add(parentPte);
    if (linked.has(parentPte)) return;
    violations.push(`${nameOf(census, sp)}: parent ${hex(parentPte)} does not point to it`);
  });
  for (const sptep of linked) {
    if (!listed.has(sptep))
      violations.push(`${nameOf(census, sp)}: entry ${hex(sptep)} points to it unlisted`);
  }
  if (pteListCount(cpu, parentPtes(sp)) !== linked.size) {
    violations.push(
      `${nameOf(census, sp)}: ${pteListCount(cpu, parentPtes(sp))} parents, ${linked.size} links`,
    );
  }
}

/** Everything about entries that point to tables (§16.4, 5, 6, 10). */
export function checkShadowLinks(census: ShadowPageCensus): void {
  const { cpu, violations, pages } = census;
  const linkedBy = new Map<KvmMmuPage, Set<number>>([...pages.keys()].map((sp) => [sp, new Set<number>()]));
  for (const link of childLinks(census)) {
    const { parent, index, child } = link;
    const links = linkedBy.get(child);
    if (links === undefined) {
      violations.push(`${nameOf(census, parent)} entry ${index}: points to ${hex(child)}, which is no page`);
      continue;
    }
    links.add(spSptep(cpu, parent, index));
    if (fieldsOf(census, child).invalid) {
      violations.push(
        `${nameOf(census, parent)} entry ${index}: points to the invalid ${nameOf(census, child)}`,
      );
    }
    checkRoles(census, link);
    checkMark(census, link);
  }
  for (const [sp, links] of linkedBy) checkParents(census, sp, links);
}

function popcount(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** Unsync pages are indirect tables of level 1, and counted; `unsync_children` is the number of marks (§16.4). */
export function checkUnsyncPages(census: ShadowPageCensus): void {
  const { mmu, cpu, violations, pages } = census;
  let unsyncPages = 0;
  for (const sp of pages.keys()) {
    const { level, direct } = fieldsOf(census, sp);
    if (cpu.readOnce32(unsyncWord(sp)) !== 0) {
      unsyncPages++;
      if (level !== 1 || direct) violations.push(`${nameOf(census, sp)}: unsync`);
    }
    let marks = 0;
    for (let index = 0; index < SPTE_ENT_PER_PAGE; index += 32) {
      marks += popcount(cpu.readOnce32(unsyncChildBitmapWord(sp, index)));
    }
    const counted = cpu.readOnce32(unsyncChildrenWord(sp));
    if (counted !== marks)
      violations.push(`${nameOf(census, sp)}: unsync_children ${counted}, ${marks} marks`);
  }
  const counted = cpu.readOnce32(mmu.statistics.word("mmu_unsync"));
  if (counted !== unsyncPages) violations.push(`mmu_unsync is ${counted}, ${unsyncPages} pages are unsync`);
}
