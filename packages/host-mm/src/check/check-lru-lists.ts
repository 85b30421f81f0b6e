import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { ACTIVE_LIST, HPAGE_PMD_NR, INACTIVE_LIST, LIST_HEAD_RECORDS, type Page } from "../page/mem-map.js";
import { PG_ACTIVE, PG_HEAD, PG_LRU } from "../page/page-state.js";
import { nameOf } from "./check-page-tables.js";

/** Checks that both lists are linked both ways, hold exactly the folios that say so, and have the counted length. */
export function checkLruLists(mm: MmStruct, cpu: Cpu): string[] {
  const listed = new Set<Page>();
  const violations = [
    ...checkList(mm, cpu, INACTIVE_LIST, mm.lruvec.inactivePages(cpu), listed),
    ...checkList(mm, cpu, ACTIVE_LIST, mm.lruvec.activePages(cpu), listed),
  ];
  for (let ordinal = 0; ordinal < mm.memMap.pages; ordinal++) {
    const page = (LIST_HEAD_RECORDS + ordinal) as Page;
    const claims = (mm.memMap.readState(cpu, page) & PG_LRU) !== 0n;
    if (claims && !listed.has(page))
      violations.push(`${nameOf(mm, page)} says it is on an LRU list and is not`);
  }
  return violations;
}

function checkList(mm: MmStruct, cpu: Cpu, head: Page, counted: number, listed: Set<Page>): string[] {
  const { memMap } = mm;
  const name = head === ACTIVE_LIST ? "active" : "inactive";
  const violations: string[] = [];
  let length = 0;
  let previous = head;
  for (let page = cpu.readOnce32(memMap.nextWord(head)) as Page; page !== head; ) {
    if (listed.has(page)) return [...violations, `${name} list: ${nameOf(mm, page)} is on it twice`];
    listed.add(page);
    const state = memMap.readState(cpu, page);
    if (cpu.readOnce32(memMap.previousWord(page)) !== previous) violations.push(`${name} list: broken link`);
    if ((state & PG_LRU) === 0n) violations.push(`${nameOf(mm, page)} is on the ${name} list without PG_lru`);
    if (((state & PG_ACTIVE) !== 0n) !== (head === ACTIVE_LIST)) {
      violations.push(`${nameOf(mm, page)} is on the ${name} list against its flag`);
    }
    length += (state & PG_HEAD) === 0n ? 1 : HPAGE_PMD_NR;
    previous = page;
    page = cpu.readOnce32(memMap.nextWord(page)) as Page;
  }
  if (length !== counted) violations.push(`${name} list: ${length} pages, counted ${counted}`);
  return violations;
}
