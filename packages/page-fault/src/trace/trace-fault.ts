import type { Address, Cpu } from "@kvm-age/machine";
import { NULL_SLOT } from "@kvm-age/memslot";
import {
  type Gfn,
  getMmioSpteGeneration,
  isExecutablePte,
  isUserPte,
  KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS,
  kvmPagesPerHpage,
  type PgLevel,
  type Spte,
  type SpteFormat,
} from "@kvm-age/spte";
import type { KvmPageFault } from "../fault/kvm-page-fault.js";

const PT_PRESENT_MASK = 1n;
/** What a fault outside every slot has for a frame (`KVM_PFN_NOSLOT`): bit 63, which a double holds exactly. */
const KVM_PFN_NOSLOT = 2 ** 63;

/** The 4 KiB frame of the faulting page, whatever the level: the fault has that of the start of the huge page by now. */
function requestedPfn(fault: KvmPageFault): number {
  if (fault.slot === NULL_SLOT) return KVM_PFN_NOSLOT;
  return fault.pfn + (fault.gfn % kvmPagesPerHpage(fault.goalLevel));
}

/**
 * Emits `kvm_mmu_spte_requested`: a fault chose its level.
 *
 * @param access that the leaf is to have, in the rule set's access bits; kernels before 7.3 do not print it
 */
export function traceKvmMmuSpteRequested(cpu: Cpu, fault: KvmPageFault, access: number): void {
  const { gfn, goalLevel: level } = fault;
  cpu.trace({ name: "kvm_mmu_spte_requested", fields: { gfn, pfn: requestedPfn(fault), level, access } });
}

/**
 * Emits `kvm_mmu_set_spte`: a fault installed a leaf, or found it there. Shows the entry as it is now: it is read here. R counts as
 * given where the present mask is not empty, which every layout sees to.
 */
export function traceKvmMmuSetSpte(
  format: SpteFormat,
  cpu: Cpu,
  level: PgLevel,
  gfn: Gfn,
  sptep: Address,
): void {
  const spte = cpu.readOnce(sptep) as Spte;
  const r = format.shadowPresentMask !== 0n || BigInt.asUintN(64, spte & PT_PRESENT_MASK) !== 0n;
  const letters = { r, x: isExecutablePte(format, spte), u: isUserPte(format, spte) };
  cpu.trace({ name: "kvm_mmu_set_spte", fields: { gfn, spte, level, sptep, ...letters } });
}

/** Emits `mark_mmio_spte`: that there is no slot is about to be cached, or was. Shows the lowest bits of the entry as its access. */
export function traceMarkMmioSpte(format: SpteFormat, cpu: Cpu, sptep: Address, gfn: Gfn, spte: Spte): void {
  const access = Number(spte & BigInt(format.rules.accAll));
  const gen = Number(getMmioSpteGeneration(format, spte));
  cpu.trace({ name: "mark_mmio_spte", fields: { sptep: BigInt(sptep), gfn, access, gen } });
}

/**
 * Emits `check_mmio_spte`: the generation of a cached "no slot" is compared with today's. Not while slots change: then the entry is not
 * believed whatever it says, and the kernel compares nothing.
 *
 * @param generation the current 64-bit memslot generation
 */
export function traceCheckMmioSpte(format: SpteFormat, cpu: Cpu, spte: Spte, generation: bigint): void {
  if ((generation & KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS) !== 0n) return;
  const kvmGen = Number(generation & format.rules.mmioGeneration.mask);
  const spteGen = Number(getMmioSpteGeneration(format, spte));
  const fields = { spte, kvm_gen: kvmGen, spte_gen: spteGen, valid: kvmGen === spteGen };
  cpu.trace({ name: "check_mmio_spte", fields });
}

/** Emits `handle_mmio_page_fault`: an access outside every slot is answered from a cached entry. */
export function traceHandleMmioPageFault(cpu: Cpu, addr: number, gfn: Gfn, access: number): void {
  cpu.trace({ name: "handle_mmio_page_fault", fields: { addr: BigInt(addr), gfn, access } });
}
