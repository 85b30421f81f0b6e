import type { Address, Cpu } from "@kvm-age/machine";
import {
  disallowedHugepageAdjust,
  type KvmPageFault,
  kvmMmuHugepageAdjust,
  RetPf,
  traceKvmMmuSpteRequested,
} from "@kvm-age/page-fault";
import {
  type Gfn,
  gfnRoundForLevel,
  isLargePte,
  isShadowPresentPte,
  PG_LEVEL_4K,
  type PgLevel,
  type Spte,
} from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import { accountNxHugePage } from "../huge/nx-huge-pages.js";
import { kvmMmuGetChildSp } from "../link/kvm-mmu-get-child-sp.js";
import { linkShadowPage } from "../link/link-shadow-page.js";
import { nxHugePageDisallowedWord } from "../page/kvm-mmu-page.js";
import { spteToChildSp } from "../page/sptep-to-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { ShadowWalkIterator } from "../walk/shadow-walk-iterator.js";
import { directPtePrefetch } from "./direct-pte-prefetch.js";
import { mmuSetSpte } from "./mmu-set-spte.js";

/**
 * `disallowed_hugepage_adjust` for an entry of a shadow page. Held: `mmu_lock` for write.
 *
 * @param level of the table that holds the entry
 */
export function shadowDisallowedHugepageAdjust(
  mmu: ShadowMmu,
  cpu: Cpu,
  fault: KvmPageFault,
  spte: Spte,
  level: PgLevel,
): void {
  if (level === PG_LEVEL_4K || !isShadowPresentPte(spte) || isLargePte(spte)) return;
  const child = spteToChildSp(mmu, cpu, spte);
  disallowedHugepageAdjust(fault, level, cpu.readOnce32(nxHugePageDisallowedWord(child)) !== 0);
}

/** Makes an entry above the goal level point to a linear table, unless it does already. */
function ensureTable(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  fault: KvmPageFault,
  sptep: Address,
  level: PgLevel,
): void {
  const gfn = gfnRoundForLevel(fault.gfn, level);
  const sp = kvmMmuGetChildSp(mmu, cpu, vcpu, sptep, gfn, true, mmu.format.rules.accAll);
  if (sp === null) return;
  linkShadowPage(mmu, cpu, vcpu.pteListDescCache, sptep, sp, true);
  if (fault.hugePageDisallowed) accountNxHugePage(mmu, cpu, sp, fault.reqLevel >= level);
}

/**
 * `direct_map`: maps one page for a fault of a context that translates linearly. Held: `mmu_lock` for write, after the invalidation
 * check; the caches are topped up and pages are available.
 *
 * @throws ShadowPageCorruptionError if the walk ends above the goal level.
 */
export function directMap(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, fault: KvmPageFault): RetPf {
  kvmMmuHugepageAdjust(mmu, cpu, mmu.host, fault);
  if (cpu.tracing) traceKvmMmuSpteRequested(cpu, fault, mmu.format.rules.accAll);
  const context = vcpu.current(cpu);
  const iterator = new ShadowWalkIterator(mmu, fault.addr);
  for (iterator.start(cpu, context, context.rootHpa(cpu)); iterator.okay(); ) {
    const { sptep, level } = iterator;
    if (mmu.nxHugePages) {
      shadowDisallowedHugepageAdjust(mmu, cpu, fault, cpu.readOnce(sptep) as Spte, level);
    }
    if (level === fault.goalLevel) return mapAt(mmu, cpu, vcpu, fault, sptep, level);
    ensureTable(mmu, cpu, vcpu, fault, sptep, level);
    iterator.next(cpu.readOnce(sptep) as Spte);
  }
  throw new ShadowPageCorruptionError("walk ended above the goal level", {
    gfn: fault.gfn,
    goalLevel: fault.goalLevel,
  });
}

function mapAt(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  fault: KvmPageFault,
  sptep: Address,
  level: PgLevel,
): RetPf {
  const gfn = gfnRoundForLevel(fault.gfn, level) as Gfn;
  const { accAll } = mmu.format.rules;
  const result = mmuSetSpte(mmu, cpu, vcpu, fault.slot, sptep, accAll, gfn, fault.pfn, fault);
  if (result !== RetPf.spurious) directPtePrefetch(mmu, cpu, vcpu, sptep);
  return result;
}
