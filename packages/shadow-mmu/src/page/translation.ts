import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import { type Gfn, kvmPagesPerHpage, roleAccess, roleLevel } from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { type KvmMmuPage, shadowedTranslationWord, spGfn, spRole } from "./kvm-mmu-page.js";
import { rolePassthrough } from "./shadow-role.js";

// A word of `shadowed_translation`: gfn in bits 63:12, access in the lowest.
const GFN_SHIFT = 12n;
const ACCESS_BITS = 12;

/** Address of the recorded translation of entry `index`; 0 if the page records none. */
function translationWord(cpu: Cpu, sp: KvmMmuPage, index: number): Address {
  const array = cpu.readOnce32(shadowedTranslationWord(sp)) as Address;
  return array === NULL_ADDRESS ? array : offset(array, index * 8);
}

/**
 * `kvm_mmu_page_get_gfn`: the guest frame that entry `index` (0 … 511) maps: the page's own for passthrough, the recorded
 * one, or the one at its place in a linear range.
 */
export function kvmMmuPageGetGfn(_mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, index: number): Gfn {
  const role = spRole(cpu, sp);
  if (rolePassthrough(role)) return spGfn(cpu, sp);
  const word = translationWord(cpu, sp, index);
  if (word !== NULL_ADDRESS) {
    // Wrapped although it is in range: with several kinds of `Cpu` in one realm, Node 20.20.2's compiler aborts the
    // process on a shift of an unwrapped result (RepresentationChangerError, seen 2026-11).
    const translation = BigInt.asUintN(64, cpu.readOnce(word));
    return Number(BigInt.asUintN(64, translation >> GFN_SHIFT)) as Gfn;
  }
  return (spGfn(cpu, sp) + index * kvmPagesPerHpage(roleLevel(role))) as Gfn;
}

/** `kvm_mmu_page_get_access`: the access of entry `index` as recorded, else that of the whole table. */
export function kvmMmuPageGetAccess(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, index: number): number {
  const word = translationWord(cpu, sp, index);
  if (word === NULL_ADDRESS) return roleAccess(mmu.format.rules, spRole(cpu, sp));
  return Number(BigInt.asUintN(ACCESS_BITS, cpu.readOnce(word)));
}

function checkComputedTranslation(
  mmu: ShadowMmu,
  cpu: Cpu,
  sp: KvmMmuPage,
  index: number,
  gfn: Gfn,
  access: number,
): void {
  const ownGfn = kvmMmuPageGetGfn(mmu, cpu, sp, index);
  const ownAccess = kvmMmuPageGetAccess(mmu, cpu, sp, index);
  if (gfn === ownGfn && access === ownAccess) return;
  throw new ShadowPageCorruptionError("translation differs from that of the linear table", {
    index,
    gfn,
    access,
    ownGfn,
    ownAccess,
  });
}

/**
 * `kvm_mmu_page_set_translation`: records what entry `index` maps and with which access of the guest's. Held: `mmu_lock`
 * for write.
 *
 * @throws ShadowPageCorruptionError if the page records nothing, because both follow from it, and they differ.
 */
export function kvmMmuPageSetTranslation(
  mmu: ShadowMmu,
  cpu: Cpu,
  sp: KvmMmuPage,
  index: number,
  gfn: Gfn,
  access: number,
): void {
  const word = translationWord(cpu, sp, index);
  if (word === NULL_ADDRESS) checkComputedTranslation(mmu, cpu, sp, index, gfn, access);
  else cpu.writeOnce(word, BigInt.asUintN(64, (BigInt(gfn) << GFN_SHIFT) | BigInt(access)));
}

/** `kvm_mmu_page_set_access`: the same with the gfn that is recorded already. */
export function kvmMmuPageSetAccess(
  mmu: ShadowMmu,
  cpu: Cpu,
  sp: KvmMmuPage,
  index: number,
  access: number,
): void {
  kvmMmuPageSetTranslation(mmu, cpu, sp, index, kvmMmuPageGetGfn(mmu, cpu, sp, index), access);
}
