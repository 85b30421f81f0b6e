import type { Cpu } from "@kvm-age/machine";
import { PageReferenceError } from "../errors.js";
import { MemMap, type Page } from "./mem-map.js";
import { ONE_REFERENCE, PG_TAIL, stateReferences } from "./page-state.js";

const MINUS_ONE_REFERENCE = BigInt.asUintN(64, -ONE_REFERENCE);

/** `page_folio`: the page that keeps the books for `page`, itself or the head of its 2 MiB folio. */
export function pageFolio(memMap: MemMap, cpu: Cpu, page: Page): Page {
  return (memMap.readState(cpu, page) & PG_TAIL) === 0n ? page : MemMap.blockHead(page);
}

/** `folio_get`: one more reference; the caller or somebody it excludes holds one already. */
export function folioGet(memMap: MemMap, cpu: Cpu, folio: Page): void {
  cpu.fetchAdd(memMap.stateWord(folio), ONE_REFERENCE, "relaxed");
}

/**
 * `folio_try_get`: a reference unless the folio is free or frozen. A lost exchange means that some flag or count
 * changed: look again. A folio that is freed and reused in between is caught by the caller, which checks afterwards
 * that it got the folio it wanted. Full, pairing with the freeze and with the caller's check.
 */
export function folioTryGet(memMap: MemMap, cpu: Cpu, folio: Page): boolean {
  const word = memMap.stateWord(folio);
  let seen = cpu.readOnce(word);
  while (stateReferences(seen) !== 0) {
    const found = cpu.cmpxchg(word, seen, seen + ONE_REFERENCE, "full");
    if (found === seen) return true;
    seen = found;
  }
  return false;
}

/**
 * `folio_put_testzero`: drops a reference; true if it was the last, so that the caller must free the folio. Full: what
 * every holder did to the page comes before its reuse.
 *
 * @throws PageReferenceError if there was none.
 */
export function folioPutTestzero(memMap: MemMap, cpu: Cpu, folio: Page): boolean {
  const before = cpu.fetchAdd(memMap.stateWord(folio), MINUS_ONE_REFERENCE, "full");
  const references = stateReferences(before);
  if (references === 0) throw new PageReferenceError(memMap.pageToPfn(folio));
  return references === 1;
}
