import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import {
  type Gfn,
  isLastSpte,
  isShadowPresentPte,
  kvmMmuRoleAsId,
  type PgLevel,
  roleLevel,
  SHADOW_NONPRESENT_VALUE,
  type Spte,
  spteToPfn,
} from "@kvm-age/spte";
import { RootStateError } from "../page/errors.js";
import { type KvmMmuPage, ptepWord, spGfn, spRole, spSpt } from "../page/kvm-mmu-page.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { handleChangedSpte } from "../write/handle-changed-spte.js";
import { kvmTdpMmuReadSpte, kvmTdpMmuWriteSpte } from "../write/tdp-spte-access.js";

/**
 * `kvm_tdp_mmu_zap_sp`: takes one table out of the tree, for the recovery of NX huge pages. In a read section and under `mmu_lock`:
 * for write and by an ordinary store (6.15), or for read and by compare-exchange, only if the parent entry still points to
 * this table (7.3). True if it was removed; the caller flushes before it leaves RCU.
 *
 * @throws RootStateError for a root, which no entry points to.
 */
export function kvmTdpMmuZapSp(mmu: TdpMmu, cpu: Cpu, sp: KvmMmuPage): boolean {
  const ptep = cpu.readOnce32(ptepWord(sp)) as Address;
  if (ptep === NULL_ADDRESS) throw new RootStateError("a root cannot be zapped as a table", sp);
  const role = spRole(cpu, sp);
  const level = (roleLevel(role) + 1) as PgLevel;
  const oldSpte = kvmTdpMmuReadSpte(cpu, ptep);
  if (!isShadowPresentPte(oldSpte) || isLastSpte(oldSpte, level)) return false;
  if (spteToPfn(mmu.format, oldSpte) * 4096 !== spSpt(cpu, sp)) return false;
  const shared = mmu.format.rules.tdpZapSp === "read-lock";
  cpu.lockdep.assertHeld(mmu.mmuLock, shared ? "read" : "write");
  if (!removeEntry(mmu, cpu, ptep, oldSpte, level, shared)) return false;
  const change = { asId: kvmMmuRoleAsId(role), gfn: spGfn(cpu, sp) as Gfn, level, oldSpte, shared };
  handleChangedSpte(mmu, cpu, { ...change, newSpte: SHADOW_NONPRESENT_VALUE });
  return true;
}

/** False only if the exchange was lost: somebody else changed the entry, and nothing is left to do here. */
function removeEntry(
  mmu: TdpMmu,
  cpu: Cpu,
  ptep: Address,
  oldSpte: Spte,
  level: PgLevel,
  shared: boolean,
): boolean {
  if (shared) return cpu.cmpxchg(ptep, oldSpte, SHADOW_NONPRESENT_VALUE, "full") === oldSpte;
  kvmTdpMmuWriteSpte(mmu, cpu, ptep, oldSpte, SHADOW_NONPRESENT_VALUE, level);
  return true;
}
