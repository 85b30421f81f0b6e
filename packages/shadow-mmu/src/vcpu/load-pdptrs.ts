import type { Cpu } from "@kvm-age/machine";
import { kvmVcpuReadGuest } from "../guest-walk/kvm-vcpu-read-guest.js";
import { KVM_MMU_ROOT_CURRENT, kvmMmuFreeRoots } from "../root/kvm-mmu-free-roots.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { KvmMmu } from "./kvm-mmu.js";
import type { ShadowMmuVcpu } from "./shadow-mmu-vcpu.js";

const PDPTES = 4;
const PDPT_BYTES = 32;
const PRESENT = 1n;
/** Bits 8:5 and 2:1 of a PDPTE. */
const LOW_RESERVED = 0x1e6n;

/** `pdptr_rsvd_bits`: the low ones, and what lies above the guest's physical addresses. */
function pdptrRsvdBits(mmu: ShadowMmu): bigint {
  return BigInt.asUintN(64, -1n << BigInt(mmu.format.host.maxPhyAddr)) | LOW_RESERVED;
}

/** The four entries, or null if they cannot be read or one that is present has a reserved bit. */
function readPdptes(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, cr3: number): bigint[] | null {
  const reserved = pdptrRsvdBits(mmu);
  const base = cr3 - (cr3 % PDPT_BYTES);
  const pdptes: bigint[] = [];
  for (let index = 0; index < PDPTES; index++) {
    const pdpte = kvmVcpuReadGuest(mmu, cpu, vcpu, base + index * 8, false);
    if (pdpte === null) return null;
    if (BigInt.asUintN(1, pdpte) === PRESENT && BigInt.asUintN(64, pdpte & reserved) !== 0n) return null;
    pdptes.push(pdpte);
  }
  return pdptes;
}

/**
 * `load_pdptrs`: loads the four page-directory-pointer entries of a PAE guest into the context, as a processor does on a load of CR3;
 * the table in memory plays no part afterwards. The current root is freed if an entry changed, since it was made from them.
 *
 * @param cr3 in bytes; its bits below 5 are flags
 * @returns false, with nothing changed, if the table cannot be read or a present entry has reserved bits: the guest takes #GP
 */
export function loadPdptrs(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  context: KvmMmu,
  cr3: number,
): boolean {
  const pdptes = readPdptes(mmu, cpu, vcpu, cr3);
  if (pdptes === null) return false;
  const changed = pdptes.some((pdpte, index) => cpu.readOnce(context.pdptrWord(index)) !== pdpte);
  if (changed) kvmMmuFreeRoots(mmu, cpu, vcpu, context, KVM_MMU_ROOT_CURRENT);
  for (const [index, pdpte] of pdptes.entries()) cpu.writeOnce(context.pdptrWord(index), pdpte);
  return true;
}
