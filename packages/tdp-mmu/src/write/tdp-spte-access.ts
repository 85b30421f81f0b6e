import type { Address, Cpu } from "@kvm-age/machine";
import { SpteCorruptionError } from "@kvm-age/page-fault";
import {
  isEptVePossible,
  isLastSpte,
  isShadowPresentPte,
  type PgLevel,
  type Spte,
  spteNeedsAtomicUpdateUnder,
} from "@kvm-age/spte";
import type { TdpMmu } from "../tdp-mmu.js";

/** `kvm_tdp_mmu_read_spte`: a single-copy atomic snapshot. */
export function kvmTdpMmuReadSpte(cpu: Cpu, sptep: Address): Spte {
  return cpu.readOnce(sptep) as Spte;
}

function checkNoVe(mmu: TdpMmu, oldSpte: Spte, newSpte: Spte): void {
  if (isEptVePossible(mmu.format, newSpte)) {
    throw new SpteCorruptionError("value could raise #VE in the guest", 0, 0, oldSpte, newSpte);
  }
}

/** `kvm_tdp_mmu_write_spte_atomic`: exchanges the entry; whatever hardware or a lockless writer put there last comes back. */
export function kvmTdpMmuWriteSpteAtomic(mmu: TdpMmu, cpu: Cpu, sptep: Address, newSpte: Spte): Spte {
  checkNoVe(mmu, newSpte, newSpte);
  return cpu.xchg(sptep, newSpte, "full") as Spte;
}

/**
 * `kvm_tdp_mmu_spte_need_atomic_update` under the MMU's volatile rule: whether a plain store over `oldSpte` could lose
 * an update, although the writer holds `mmu_lock` for write.
 */
export function tdpSpteNeedsAtomicUpdate(mmu: TdpMmu, oldSpte: Spte, level: PgLevel): boolean {
  return (
    isShadowPresentPte(oldSpte) &&
    isLastSpte(oldSpte, level) &&
    spteNeedsAtomicUpdateUnder(mmu.options.volatileRule, mmu.format, oldSpte)
  );
}

/**
 * `kvm_tdp_mmu_write_spte`: replaces an entry under `mmu_lock` held for write; returns the value replaced. Where only the
 * Accessed bit can change beneath the caller, a plain store is used and its loss accepted: the caller's
 * snapshot is returned.
 */
export function kvmTdpMmuWriteSpte(
  mmu: TdpMmu,
  cpu: Cpu,
  sptep: Address,
  oldSpte: Spte,
  newSpte: Spte,
  level: PgLevel,
): Spte {
  if (tdpSpteNeedsAtomicUpdate(mmu, oldSpte, level))
    return kvmTdpMmuWriteSpteAtomic(mmu, cpu, sptep, newSpte);
  checkNoVe(mmu, oldSpte, newSpte);
  cpu.writeOnce(sptep, newSpte);
  return oldSpte;
}

/**
 * `tdp_mmu_clear_spte_bits_atomic`: clears bits of whatever the entry holds, and returns it. Unconditional: the
 * entry need not be the one the caller looked at.
 */
export function tdpMmuClearSpteBitsAtomic(cpu: Cpu, sptep: Address, mask: bigint): Spte {
  return cpu.fetchAnd(sptep, BigInt.asUintN(64, ~mask), "full") as Spte;
}

/** `tdp_mmu_clear_spte_bits`: the same under `mmu_lock` held for write, with a plain store where nothing can be lost. */
export function tdpMmuClearSpteBits(
  mmu: TdpMmu,
  cpu: Cpu,
  sptep: Address,
  oldSpte: Spte,
  mask: bigint,
  level: PgLevel,
): Spte {
  if (tdpSpteNeedsAtomicUpdate(mmu, oldSpte, level)) return tdpMmuClearSpteBitsAtomic(cpu, sptep, mask);
  cpu.writeOnce(sptep, BigInt.asUintN(64, oldSpte & ~mask));
  return oldSpte;
}
