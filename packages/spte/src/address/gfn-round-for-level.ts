import { kvmPagesPerHpage } from "../level/kvm-pages-per-hpage.js";
import type { PgLevel } from "../level/pg-level.js";
import type { Gfn } from "./gfn.js";

/**
 * First gfn of the page of the given level that contains `gfn` (kernel `gfn_round_for_level`).
 * Valid for every `Gfn`: the remainder is exact up to 2^53.
 */
export function gfnRoundForLevel(gfn: Gfn, level: PgLevel): Gfn {
  return (gfn - (gfn % kvmPagesPerHpage(level))) as Gfn;
}
