import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { NULL_PAGE } from "../page/mem-map.js";
import { PG_SWAPCACHE } from "../page/page-state.js";
import { folioSwap } from "../swap/swap-cache.js";
import type { Mappings } from "./check-page-tables.js";

/** Checks that every slot in use has exactly the holders it names: one PTE, one page of the swap cache, or both. */
export function checkSwapSlots(mm: MmStruct, cpu: Cpu, mappings: Mappings): string[] {
  const violations: string[] = [];
  let used = 0;
  for (let slot = 1; slot <= mm.swap.slots; slot++) {
    const isNamed = mappings.slots.has(slot);
    if (!mm.swap.isUsed(cpu, slot)) {
      if (isNamed) violations.push(`swap slot ${slot} is free, but an entry names it`);
      continue;
    }
    used++;
    if (mm.swap.isMapped(cpu, slot) !== isNamed)
      violations.push(`swap slot ${slot} and the page table disagree`);
    if (!cachedPageAgrees(mm, cpu, slot)) violations.push(`swap slot ${slot} and its cached page disagree`);
  }
  const counted = mm.swap.usedSlots(cpu);
  if (counted !== used) violations.push(`${used} swap slots in use, counted ${counted}`);
  return violations;
}

function cachedPageAgrees(mm: MmStruct, cpu: Cpu, slot: number): boolean {
  const page = mm.swap.cachedPage(cpu, slot);
  if (page === NULL_PAGE) return true;
  const isInCache = (mm.memMap.readState(cpu, page) & PG_SWAPCACHE) !== 0n;
  return isInCache && folioSwap(mm, cpu, page) === slot;
}
