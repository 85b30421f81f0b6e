import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { kvmMemslotsHaveRmaps, NULL_SLOT } from "@kvm-age/memslot";
import { type KvmRmapHead, kvmRmapGet, RmapIterator } from "@kvm-age/rmap";
import {
  isEptVePossible,
  isLastSpte,
  isMmioSpte,
  isMmuWritableSpte,
  isShadowPresentPte,
  isWritablePte,
  KVM_MAX_HUGEPAGE_LEVEL,
  kvmMmuRoleAsId,
  PG_LEVEL_4K,
  type PgLevel,
  roleInvalid,
  roleLevel,
  SHADOW_NONPRESENT_VALUE,
  type Spte,
} from "@kvm-age/spte";
import { gfnToRmap } from "../leaf-rmap/gfn-to-rmap.js";
import {
  type KvmMmuPage,
  NO_PAGE,
  SPTE_ENT_PER_PAGE,
  spGfn,
  spRole,
  spSpt,
  sptepIndex,
  unsyncWord,
} from "../page/kvm-mmu-page.js";
import { spHasGptes } from "../page/sp-has-gptes.js";
import { kvmMmuPageGetGfn } from "../page/translation.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { checkShadowLeaf } from "./check-shadow-leaf.js";
import { RmapCensus } from "./rmap-census.js";

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** What one pass over all tables has found. */
interface Census {
  readonly violations: string[];
  readonly rmaps: RmapCensus;
  /** Leaves by level. */
  readonly leaves: number[];
  /** Entries that were found to be leaves. */
  readonly seen: Set<number>;
}

/** The list that a leaf belongs into must be the one, and the only one, that it is in. */
function checkRmapOf(
  mmu: ShadowMmu,
  cpu: Cpu,
  census: Census,
  sp: KvmMmuPage,
  sptep: Address,
  at: string,
): void {
  const role = spRole(cpu, sp);
  const gfn = kvmMmuPageGetGfn(mmu, cpu, sp, sptepIndex(sptep));
  const slot = mmu.memslots.gfnToMemslot(cpu, kvmMmuRoleAsId(role), gfn);
  if (slot === NULL_SLOT) {
    census.violations.push(`${at}: gfn ${hex(gfn)} is in no slot`);
    return;
  }
  const head = gfnToRmap(cpu, slot, gfn, roleLevel(role));
  const heads = census.rmaps.headsOf.get(sptep) ?? [];
  if (heads.length === 1 && heads[0] === head) return;
  census.violations.push(`${at}: in rmaps [${heads.map(hex).join(", ")}], expected ${hex(head)} alone`);
}

function checkEntry(mmu: ShadowMmu, cpu: Cpu, census: Census, sp: KvmMmuPage, sptep: Address): void {
  const { format } = mmu;
  const spte = cpu.readOnce(sptep) as Spte;
  const level = roleLevel(spRole(cpu, sp));
  const at = `entry ${hex(sptep)} level ${level} SPTE ${hex(spte)}`;
  if (isEptVePossible(format, spte)) census.violations.push(`${at}: could raise #VE`);
  if (!isShadowPresentPte(spte)) {
    const known = spte === SHADOW_NONPRESENT_VALUE || isMmioSpte(format, spte);
    if (!known) census.violations.push(`${at}: unknown non-present value`);
    return;
  }
  if (!isLastSpte(spte, level)) return;
  census.leaves[level] = (census.leaves[level] ?? 0) + 1;
  census.seen.add(sptep);
  census.violations.push(...checkShadowLeaf(mmu, cpu, sp, sptep, spte, at));
  checkRmapOf(mmu, cpu, census, sp, sptep, at);
}

/** No leaf in the list may be written through, or be made so by a fast page fault. */
function checkListProtected(mmu: ShadowMmu, cpu: Cpu, census: Census, head: KvmRmapHead, at: string): void {
  const iterator = new RmapIterator();
  let sptep = iterator.getFirst(cpu, kvmRmapGet(cpu, head));
  for (; sptep !== 0; sptep = iterator.getNext(cpu)) {
    const spte = cpu.readOnce(sptep) as Spte;
    if (!isWritablePte(spte) && !isMmuWritableSpte(mmu.format, spte)) continue;
    census.violations.push(`${at}: entry ${hex(sptep)} SPTE ${hex(spte)} maps it writable`);
  }
}

/** A guest table that is shadowed and in sync is not writable. */
function checkWriteProtection(mmu: ShadowMmu, cpu: Cpu, census: Census, sp: KvmMmuPage): void {
  const role = spRole(cpu, sp);
  if (!spHasGptes(role) || roleInvalid(mmu.format.rules, role) || cpu.readOnce32(unsyncWord(sp)) !== 0)
    return;
  const gfn = spGfn(cpu, sp);
  const slot = mmu.memslots.gfnToMemslot(cpu, kvmMmuRoleAsId(role), gfn);
  if (slot === NULL_SLOT || !kvmMemslotsHaveRmaps(mmu.memslots, cpu)) return;
  const at = `guest table ${hex(gfn)} of page ${hex(sp)}`;
  for (let level: number = PG_LEVEL_4K; level <= KVM_MAX_HUGEPAGE_LEVEL; level++) {
    checkListProtected(mmu, cpu, census, gfnToRmap(cpu, slot, gfn, level as PgLevel), at);
  }
}

function checkPages(mmu: ShadowMmu, cpu: Cpu, census: Census): void {
  for (let sp = mmu.activeMmuPages.first(cpu); sp !== NO_PAGE; sp = mmu.activeMmuPages.next(cpu, sp)) {
    for (let index = 0; index < SPTE_ENT_PER_PAGE; index++) {
      checkEntry(mmu, cpu, census, sp, offset(spSpt(cpu, sp), index * 8));
    }
    checkWriteProtection(mmu, cpu, census, sp);
  }
}

/**
 * Checks the invariants of leaves and rmaps that can be seen at rest: nobody else may be running. A leaf is in the list of
 * its gfn, level and address space, once, and nothing else is; lists are well formed and unlocked; leaves give no more than
 * was recorded for them; shadowed guest tables that are in sync are not writable; the counters of leaves are right. Reads
 * every entry of every table and every list head of every slot.
 *
 * @returns one sentence for each violation; empty if all is well
 */
export function checkShadowSpteInvariants(mmu: ShadowMmu, cpu: Cpu): string[] {
  const rmaps = new RmapCensus(mmu, cpu);
  const census: Census = { violations: [...rmaps.violations], rmaps, leaves: [], seen: new Set() };
  checkPages(mmu, cpu, census);
  for (const sptep of rmaps.headsOf.keys()) {
    if (!census.seen.has(sptep)) census.violations.push(`entry ${hex(sptep)}: in an rmap, yet no leaf`);
  }
  for (const level of [1, 2, 3] as const) {
    const counted = cpu.readOnce32(mmu.statistics.pageWord(level));
    const found = census.leaves[level] ?? 0;
    if (counted !== found)
      census.violations.push(`level ${level}: ${counted} leaves counted, ${found} found`);
  }
  return census.violations;
}
