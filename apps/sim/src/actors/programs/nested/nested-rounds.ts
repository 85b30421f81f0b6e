import type { Actor } from "../../actor.js";
import type { Program } from "../../protocol.js";
import { touch } from "../touch.js";
import { enterLevel } from "./guest-level.js";
import { firstPageOfSet, type NestedSet } from "./nested-sets.js";

type NestedRounds = Extract<Program, { type: "nested-rounds" }>;

/** One turn of L1 or L2: all pages of its own set, and of the set that both have. L1 writes, L2 reads. */
function takeTurn(actor: Actor, { sets }: NestedRounds, level: "L1" | "L2"): void {
  enterLevel(actor, level);
  const { pagesPerSet: pages } = sets;
  for (const set of [level, "L1 and L2"] satisfies NestedSet[]) {
    const firstPage = firstPageOfSet(sets, actor.init.index, set);
    touch(actor, { firstPage, pages, write: level === "L1" });
  }
}

/** A hypervisor and its guest in turns on one vCPU, each with its hot set. */
export function nestedRounds(actor: Actor, program: NestedRounds): null {
  for (let round = 0; round < program.rounds && !actor.control.isStopping; round++) {
    if (program.l1) takeTurn(actor, program, "L1");
    if (program.l2) takeTurn(actor, program, "L2");
  }
  return null;
}
