import type { Cpu } from "@kvm-age/machine";
import type { MemMap, Page } from "./mem-map.js";

// Doubly linked circular lists through the page records; a head is a record of its own. All under the lock of whoever
// owns the list.

/** Makes `head` an empty list. */
export function initPageList(memMap: MemMap, cpu: Cpu, head: Page): void {
  cpu.writeOnce32(memMap.nextWord(head), head);
  cpu.writeOnce32(memMap.previousWord(head), head);
}

/** `list_add`: puts `page` at the front. */
export function pageListAdd(memMap: MemMap, cpu: Cpu, page: Page, head: Page): void {
  const first = cpu.readOnce32(memMap.nextWord(head)) as Page;
  cpu.writeOnce32(memMap.nextWord(page), first);
  cpu.writeOnce32(memMap.previousWord(page), head);
  cpu.writeOnce32(memMap.previousWord(first), page);
  cpu.writeOnce32(memMap.nextWord(head), page);
}

/** `list_add_tail`: puts `page` at the end. */
export function pageListAddTail(memMap: MemMap, cpu: Cpu, page: Page, head: Page): void {
  const last = cpu.readOnce32(memMap.previousWord(head)) as Page;
  cpu.writeOnce32(memMap.previousWord(page), last);
  cpu.writeOnce32(memMap.nextWord(page), head);
  cpu.writeOnce32(memMap.nextWord(last), page);
  cpu.writeOnce32(memMap.previousWord(head), page);
}

/** `list_del`: takes `page` out of its list. */
export function pageListDelete(memMap: MemMap, cpu: Cpu, page: Page): void {
  const next = cpu.readOnce32(memMap.nextWord(page)) as Page;
  const previous = cpu.readOnce32(memMap.previousWord(page)) as Page;
  cpu.writeOnce32(memMap.previousWord(next), previous);
  cpu.writeOnce32(memMap.nextWord(previous), next);
}

/** The last page of the list; `head` itself if it is empty. */
export function pageListLast(memMap: MemMap, cpu: Cpu, head: Page): Page {
  return cpu.readOnce32(memMap.previousWord(head)) as Page;
}
