import type { Cpu } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import { isObsoleteSp } from "../page/is-obsolete-sp.js";
import { type KvmMmuPage, NO_PAGE, spGfn, spRole } from "../page/kvm-mmu-page.js";
import { spHasGptes } from "../page/sp-has-gptes.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { firstHashedSp, nextHashedSp } from "./page-hash.js";

function shadowsGuestTableAt(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, gfn: Gfn): boolean {
  return spGfn(cpu, sp) === gfn && spHasGptes(spRole(cpu, sp)) && !isObsoleteSp(mmu, cpu, sp);
}

/**
 * The step of `for_each_gfn_valid_sp_with_gptes`: the valid page behind `previous` (the first if `NO_PAGE`) that shadows
 * the guest table at `gfn`, or `NO_PAGE`. The page stood on may be prepared for zapping meanwhile: it stays in the hash
 * until the commit. Held: `mmu_lock` in any mode.
 */
export function nextGfnValidSpWithGptes(
  mmu: ShadowMmu,
  cpu: Cpu,
  gfn: Gfn,
  previous: KvmMmuPage,
): KvmMmuPage {
  let sp = previous === NO_PAGE ? firstHashedSp(mmu, cpu, gfn) : nextHashedSp(cpu, previous);
  while (sp !== NO_PAGE && !shadowsGuestTableAt(mmu, cpu, sp, gfn)) sp = nextHashedSp(cpu, sp);
  return sp;
}

/**
 * `for_each_gfn_valid_sp_with_gptes`: calls `visit` for every valid page that shadows the guest table at `gfn`. Held: as
 * for the step.
 */
export function forEachGfnValidSpWithGptes(
  mmu: ShadowMmu,
  cpu: Cpu,
  gfn: Gfn,
  visit: (sp: KvmMmuPage) => void,
): void {
  let sp = nextGfnValidSpWithGptes(mmu, cpu, gfn, NO_PAGE);
  for (; sp !== NO_PAGE; sp = nextGfnValidSpWithGptes(mmu, cpu, gfn, sp)) visit(sp);
}
