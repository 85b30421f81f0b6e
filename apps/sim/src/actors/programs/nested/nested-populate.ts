import type { Actor } from "../../actor.js";
import { touch } from "../touch.js";
import { enterLevel } from "./guest-level.js";
import { firstPageOfVcpu, NESTED_SETS, type NestedSets } from "./nested-sets.js";

/** Writes all of a vCPU's memory from L1 and then from L2, so that both MMUs map every page, whoever will access it. */
export function nestedPopulate(actor: Actor, sets: NestedSets): null {
  const firstPage = firstPageOfVcpu(sets, actor.init.index);
  const pages = sets.pagesPerSet * NESTED_SETS.length;
  for (const level of ["L1", "L2"] as const) {
    enterLevel(actor, level);
    touch(actor, { firstPage, pages, write: true });
  }
  return null;
}
