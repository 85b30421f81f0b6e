import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { HPAGE_PMD_NR, LIST_HEAD_RECORDS, MemMap, type Page } from "../page/mem-map.js";
import {
  PG_DIRTY,
  PG_FREE,
  PG_HEAD,
  PG_LOCKED,
  PG_LRU,
  PG_MAPPED,
  PG_SWAPCACHE,
  PG_TAIL,
  stateReferences,
} from "../page/page-state.js";
import { readMappedPtes } from "../rmap/folio-rmap.js";
import { type Mappings, nameOf } from "./check-page-tables.js";

/** Checks every page record: free or in use, references, mapped state, and that the zone's count covers what is in use. */
export function checkPages(mm: MmStruct, cpu: Cpu, mappings: Mappings): string[] {
  const violations: string[] = [];
  let inUse = 0;
  for (let ordinal = 0; ordinal < mm.memMap.pages; ordinal++) {
    const page = (LIST_HEAD_RECORDS + ordinal) as Page;
    const state = mm.memMap.readState(cpu, page);
    const isFree = state === PG_FREE || state === 0n;
    if (!isFree) inUse++;
    const found = isFree ? checkFree(page, mappings) : checkUsed(mm, cpu, page, state, mappings);
    for (const violation of found) violations.push(`${nameOf(mm, page)} ${violation}`);
  }
  const taken = mm.zone.takenPages(cpu);
  const stocks = mm.zone.stockedPages(cpu);
  if (taken !== inUse + stocks) {
    violations.push(`zone: ${taken} pages taken, but ${inUse} in use and ${stocks} in stocks`);
  }
  return violations;
}

function checkFree(page: Page, mappings: Mappings): string[] {
  return mappings.pages.has(page) ? ["is free and mapped"] : [];
}

function checkUsed(mm: MmStruct, cpu: Cpu, page: Page, state: bigint, mappings: Mappings): string[] {
  if ((state & PG_TAIL) !== 0n) return checkTail(mm, cpu, page);
  const violations: string[] = [];
  if ((state & PG_FREE) !== 0n) violations.push("is free and in use");
  if ((state & PG_LOCKED) !== 0n) violations.push("is locked by nobody");
  if ((state & PG_LRU) === 0n) violations.push("is in use and on no LRU list");
  const expected = Number((state & PG_MAPPED) !== 0n) + Number((state & PG_SWAPCACHE) !== 0n);
  const references = stateReferences(state);
  if (references !== expected) violations.push(`has ${references} references, ${expected} are accounted for`);
  if ((state & (PG_DIRTY | PG_SWAPCACHE | PG_MAPPED)) === 0n) violations.push("is of no use to anybody");
  const mapped = (state & PG_HEAD) === 0n ? Number(mappings.pages.has(page)) : mappedTails(page, mappings);
  if (mapped > 0 !== ((state & PG_MAPPED) !== 0n))
    violations.push(`claims another mapping than the ${mapped} it has`);
  const counted =
    (state & PG_HEAD) === 0n ||
    mappings.hugeLeaves.has(page) ||
    mapped === readMappedPtes(mm.memMap, cpu, page);
  if (!counted) violations.push(`has ${mapped} mapped pages, counts ${readMappedPtes(mm.memMap, cpu, page)}`);
  return violations;
}

function checkTail(mm: MmStruct, cpu: Cpu, page: Page): string[] {
  const head = mm.memMap.readState(cpu, MemMap.blockHead(page));
  return (head & PG_HEAD) === 0n ? ["is a tail without a head"] : [];
}

/** Pages of the huge folio that something maps. */
function mappedTails(head: Page, mappings: Mappings): number {
  let mapped = 0;
  for (let page = 0; page < HPAGE_PMD_NR; page++) {
    if (mappings.pages.has((head + page) as Page)) mapped++;
  }
  return mapped;
}
