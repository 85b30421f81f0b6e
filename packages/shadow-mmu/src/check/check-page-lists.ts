import { NULL_ADDRESS } from "@kvm-age/machine";
import { SHADOW_NONPRESENT_VALUE } from "@kvm-age/spte";
import { kvmPageTableHashfn } from "../hash/page-hash.js";
import { isObsoleteSp } from "../page/is-obsolete-sp.js";
import {
  type KvmMmuPage,
  NO_PAGE,
  nxHugePageDisallowedWord,
  rootCountWord,
  SPTE_ENT_PER_PAGE,
  shadowedTranslationWord,
  spGfn,
  spRole,
  spSpt,
  spSptep,
} from "../page/kvm-mmu-page.js";
import type { PageList } from "../page/page-list.js";
import { fieldsOf, hex, nameOf, type ShadowPageCensus } from "./shadow-page-census.js";

/** Bucket, table, translations; one valid page for each gfn and role (§16.1). */
export function checkHashedPages(census: ShadowPageCensus): void {
  const { mmu, cpu, violations, pages } = census;
  const valid = new Set<string>();
  for (const [sp, bucket] of pages) {
    const name = nameOf(census, sp);
    const gfn = spGfn(cpu, sp);
    if (kvmPageTableHashfn(gfn) !== bucket) violations.push(`${name}: in bucket ${bucket}`);
    const owner = mmu.frames.readPrivate(cpu, spSpt(cpu, sp));
    if (owner !== sp) violations.push(`${name}: its table leads back to ${hex(owner)}`);
    const { direct, level } = fieldsOf(census, sp);
    const recorded = cpu.readOnce32(shadowedTranslationWord(sp)) !== NULL_ADDRESS;
    if (recorded !== (!direct && level <= 3)) violations.push(`${name}: translations recorded: ${recorded}`);
    if (isObsoleteSp(mmu, cpu, sp)) continue;
    const key = `${gfn} ${spRole(cpu, sp)}`;
    if (valid.has(key)) violations.push(`${name}: another valid page has this gfn and role`);
    valid.add(key);
  }
}

/** The pages of a list in order, its links checked in both directions. */
function walkList(census: ShadowPageCensus, list: PageList, what: string): KvmMmuPage[] {
  const { cpu, violations, pages } = census;
  const found: KvmMmuPage[] = [];
  let previous = NO_PAGE;
  for (let sp = list.first(cpu); sp !== NO_PAGE; sp = list.next(cpu, sp)) {
    if (list.previous(cpu, sp) !== previous)
      violations.push(`${what}: page ${hex(sp)} has another one before`);
    if (!pages.has(sp)) violations.push(`${what}: page ${hex(sp)} is not in the hash`);
    if (found.length > pages.size) return found;
    found.push(sp);
    previous = sp;
  }
  if (list.last(cpu) !== previous) violations.push(`${what}: the last page is ${hex(list.last(cpu))}`);
  return found;
}

/** Not invalid ⇔ on the list; obsolete ones last, of one generation because there are but two numbers (§16.11). */
export function checkActivePages(census: ShadowPageCensus): void {
  const { mmu, cpu, violations, pages } = census;
  const active = walkList(census, mmu.activeMmuPages, "active_mmu_pages");
  const listed = new Set(active);
  let obsolete = false;
  for (const sp of active) {
    if (obsolete && !isObsoleteSp(mmu, cpu, sp))
      violations.push(`${nameOf(census, sp)}: behind an obsolete page`);
    obsolete = isObsoleteSp(mmu, cpu, sp);
  }
  for (const sp of pages.keys()) {
    const { invalid } = fieldsOf(census, sp);
    if (invalid === listed.has(sp)) {
      violations.push(`${nameOf(census, sp)}: ${invalid ? "invalid, yet active" : "valid, yet not active"}`);
    }
  }
}

/** Invalid pages are roots, without entries (§16.10). */
export function checkInvalidPages(census: ShadowPageCensus): void {
  const { cpu, violations, pages } = census;
  for (const sp of pages.keys()) {
    if (!fieldsOf(census, sp).invalid) continue;
    if (cpu.readOnce32(rootCountWord(sp)) === 0)
      violations.push(`${nameOf(census, sp)}: invalid, yet no root`);
    for (let index = 0; index < SPTE_ENT_PER_PAGE; index++) {
      if (cpu.readOnce(spSptep(cpu, sp, index)) === SHADOW_NONPRESENT_VALUE) continue;
      violations.push(`${nameOf(census, sp)}: invalid, yet entry ${index} is in use`);
    }
  }
}

/** The recovery list: its pages are there for the mitigation, its length is counted. */
export function checkPossibleNxHugePages(census: ShadowPageCensus): void {
  const { mmu, cpu, violations } = census;
  const listed = walkList(census, mmu.possibleNxHugePages, "possible_nx_huge_pages");
  for (const sp of listed) {
    if (cpu.readOnce32(nxHugePageDisallowedWord(sp)) !== 0) continue;
    violations.push(`${nameOf(census, sp)}: on possible_nx_huge_pages, yet not for the mitigation`);
  }
  const counted = cpu.readOnce32(mmu.possibleNxCountWord);
  if (counted !== listed.length) {
    violations.push(`possible_nx_huge_pages: ${counted} tables counted, ${listed.length} found`);
  }
}
