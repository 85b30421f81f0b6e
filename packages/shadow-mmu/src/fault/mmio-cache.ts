import type { Cpu } from "@kvm-age/machine";
import { type Gfn, KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import { MmuKind } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";

const PAGE_BYTES = 4096;

/** `mmu_is_nested`: L2 runs on tables of L1's, so addresses are L2's while the cache is about L1's. */
function mmuIsNested(cpu: Cpu, vcpu: ShadowMmuVcpu): boolean {
  const kind = vcpu.current(cpu).kind(cpu);
  return kind === MmuKind.nestedNpt || kind === MmuKind.nestedEpt;
}

function pageOf(addr: number): bigint {
  return BigInt(addr - (addr % PAGE_BYTES));
}

/**
 * `vcpu_cache_mmio_info`: remembers one access outside every slot, until a slot changes. Nothing is remembered while slots change.
 *
 * @param gva linear address, 0 if the context translates guest-physical ones
 * @param access access bits of the rule set
 */
export function vcpuCacheMmioInfo(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  gva: number,
  gfn: Gfn,
  access: number,
): void {
  const generation = mmu.memslots.generation(cpu, 0);
  if (BigInt.asUintN(64, generation & KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS) !== 0n) return;
  cpu.writeOnce(vcpu.mmioGvaWord, mmuIsNested(cpu, vcpu) ? 0n : pageOf(gva));
  cpu.writeOnce32(vcpu.mmioAccessWord, access);
  cpu.writeOnce(vcpu.mmioGfnWord, BigInt(gfn));
  cpu.writeOnce(vcpu.mmioGenerationWord, generation);
}

/** `vcpu_match_mmio_gen`. */
function vcpuMatchMmioGeneration(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu): boolean {
  return cpu.readOnce(vcpu.mmioGenerationWord) === mmu.memslots.generation(cpu, 0);
}

/** `vcpu_match_mmio_gva`: the cached access was to the page of this linear address. Address 0 is never cached. */
export function vcpuMatchMmioGva(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, gva: number): boolean {
  if (!vcpuMatchMmioGeneration(mmu, cpu, vcpu)) return false;
  const cached = cpu.readOnce(vcpu.mmioGvaWord);
  return cached !== 0n && cached === pageOf(gva);
}

/** `vcpu_match_mmio_gpa`: the cached access was to this guest frame. Frame 0 is never cached. */
export function vcpuMatchMmioGfn(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, gfn: Gfn): boolean {
  if (!vcpuMatchMmioGeneration(mmu, cpu, vcpu)) return false;
  const cached = cpu.readOnce(vcpu.mmioGfnWord);
  return cached !== 0n && cached === BigInt(gfn);
}

/**
 * `mmio_info_in_cache`: whether a fault at `addr` is known to be outside every slot.
 *
 * @param direct whether `addr` is a guest-physical address
 */
export function mmioInfoInCache(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  addr: number,
  direct: boolean,
): boolean {
  if (mmuIsNested(cpu, vcpu)) return false;
  if (direct) return vcpuMatchMmioGfn(mmu, cpu, vcpu, Math.floor(addr / PAGE_BYTES) as Gfn);
  return vcpuMatchMmioGva(mmu, cpu, vcpu, addr);
}

/** `vcpu_clear_mmio_info`: the guest said that what `gva` translates to has changed; null for any address. */
export function vcpuClearMmioInfo(cpu: Cpu, vcpu: ShadowMmuVcpu, gva: number | null): void {
  if (gva !== null && cpu.readOnce(vcpu.mmioGvaWord) !== pageOf(gva)) return;
  cpu.writeOnce(vcpu.mmioGvaWord, 0n);
}
