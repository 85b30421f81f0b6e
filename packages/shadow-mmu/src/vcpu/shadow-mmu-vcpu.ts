import {
  type Address,
  type Cpu,
  memberModeWord,
  ObjectCache,
  objectCacheBytes,
  offset,
} from "@kvm-age/machine";
import { shadowPageSource } from "../page/shadow-page-source.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { KVM_MMU_BYTES, KvmMmu } from "./kvm-mmu.js";

/** `KVM_ARCH_NR_OBJS_PER_MEMORY_CACHE`. */
const OBJECTS_PER_CACHE = 40;

/** Tables one fault can need: one for every level (`PT64_ROOT_MAX_LEVEL`). */
const PT64_ROOT_MAX_LEVEL = 5;
/** Entries prefetched around a fault at most (`PTE_PREFETCH_NUM`). */
export const PTE_PREFETCH_NUM = 8;
/** Rmap descriptors one fault can need: its own, one per parent link, one per prefetched entry. */
const DESCRIPTORS_PER_FAULT = 1 + PT64_ROOT_MAX_LEVEL + PTE_PREFETCH_NUM;

const CACHE_BYTES = objectCacheBytes(OBJECTS_PER_CACHE);

// Layout.
const IN_SMM = 0;
const CURRENT = 4;
const LAST_RETRY_ADDR = 8;
const MMIO_GVA = 16;
const MMIO_GFN = 24;
const MMIO_GENERATION = 32;
const MMIO_ACCESS = 40;
const ROOT_MMU = 48;
const GUEST_MMU = ROOT_MMU + KVM_MMU_BYTES;
const NESTED_MMU = GUEST_MMU + KVM_MMU_BYTES;
const PTE_LIST_DESC_CACHE = NESTED_MMU + KVM_MMU_BYTES;
const SHADOW_PAGE_CACHE = PTE_LIST_DESC_CACHE + CACHE_BYTES;
const SHADOWED_INFO_CACHE = SHADOW_PAGE_CACHE + CACHE_BYTES;
const PAGE_HEADER_CACHE = SHADOWED_INFO_CACHE + CACHE_BYTES;
const VCPU_BYTES = PAGE_HEADER_CACHE + CACHE_BYTES;

/**
 * The shadow MMU's side of one vCPU (`kvm_vcpu_arch`): its contexts, its stock of descriptors and tables, its one-entry MMIO
 * cache. Its words are in the arena and belong to the vCPU's thread, but for `modeWord`.
 */
export class ShadowMmuVcpu {
  /** `root_mmu`: the context of a guest that is not nested. */
  readonly rootMmu: KvmMmu;
  /** `guest_mmu`: the context of L2. */
  readonly guestMmu: KvmMmu;
  /** `nested_mmu`: how L2's own page tables are walked under nested paging, to emulate its instructions. It never has a root. */
  readonly nestedMmu: KvmMmu;
  readonly pteListDescCache: ObjectCache;
  /** Tables whose 512 entries are `SHADOW_NONPRESENT_VALUE`. */
  readonly shadowPageCache: ObjectCache;
  /** `mmu_shadowed_info_cache`: frames for `shadowed_translation`. */
  readonly shadowedInfoCache: ObjectCache;
  readonly pageHeaderCache: ObjectCache;
  /** u32 `vcpu->mode`: member `id` of the flush domain. */
  readonly modeWord: Address;

  /**
   * @param id number of the vCPU and of its place in the flush domain
   * @param address of a structure made by `createShadowMmuVcpu`
   */
  constructor(
    mmu: ShadowMmu,
    readonly id: number,
    readonly address: Address,
  ) {
    const { frames } = mmu;
    const cache = (at: number, source: ConstructorParameters<typeof ObjectCache>[2]) =>
      new ObjectCache(offset(address, at), OBJECTS_PER_CACHE, source);
    this.rootMmu = new KvmMmu(offset(address, ROOT_MMU));
    this.guestMmu = new KvmMmu(offset(address, GUEST_MMU));
    this.nestedMmu = new KvmMmu(offset(address, NESTED_MMU));
    this.modeWord = memberModeWord(mmu.flushDomain, id);
    this.pteListDescCache = cache(PTE_LIST_DESC_CACHE, mmu.rmaps.descriptors);
    this.pageHeaderCache = cache(PAGE_HEADER_CACHE, mmu.headers);
    this.shadowPageCache = cache(SHADOW_PAGE_CACHE, shadowPageSource(frames));
    this.shadowedInfoCache = cache(SHADOWED_INFO_CACHE, {
      name: "shadowed info cache",
      allocate: (cpu) => frames.allocateFrame(cpu),
      free: (cpu, frame) => frames.freeFrame(cpu, frame),
    });
  }

  /** u32: 1 while the vCPU is in system-management mode (address space 1). Changes only with no root loaded. */
  get inSmmWord(): Address {
    return offset(this.address, IN_SMM);
  }

  /** u32 `vcpu->arch.mmu`: address of the context in use. */
  get currentWord(): Address {
    return offset(this.address, CURRENT);
  }

  /** u64 `last_retry_addr`: address whose write protection was last taken away to avoid emulation; all ones for none. */
  get lastRetryAddrWord(): Address {
    return offset(this.address, LAST_RETRY_ADDR);
  }

  /** u64 `mmio_gva`: page of the cached MMIO access, in bytes. */
  get mmioGvaWord(): Address {
    return offset(this.address, MMIO_GVA);
  }

  /** u64 `mmio_gfn`. */
  get mmioGfnWord(): Address {
    return offset(this.address, MMIO_GFN);
  }

  /** u64 `mmio_gen`: memslot generation of the cached access; all ones for none. */
  get mmioGenerationWord(): Address {
    return offset(this.address, MMIO_GENERATION);
  }

  /** u32 `mmio_access`. */
  get mmioAccessWord(): Address {
    return offset(this.address, MMIO_ACCESS);
  }

  /** `vcpu->arch.mmu`: the context in use. */
  current(cpu: Cpu): KvmMmu {
    return cpu.readOnce32(this.currentWord) === this.guestMmu.address ? this.guestMmu : this.rootMmu;
  }

  /** `mmu_topup_memory_caches`: fills the caches for one fault. Before any lock: it may wait for memory. */
  topUpMemoryCaches(cpu: Cpu, maybeIndirect: boolean): void {
    this.pteListDescCache.topUp(cpu, DESCRIPTORS_PER_FAULT);
    this.shadowPageCache.topUp(cpu, PT64_ROOT_MAX_LEVEL);
    if (maybeIndirect) this.shadowedInfoCache.topUp(cpu, PT64_ROOT_MAX_LEVEL);
    this.pageHeaderCache.topUp(cpu, PT64_ROOT_MAX_LEVEL);
  }
}

/** `kvm_mmu_create`: makes the shadow MMU's side of vCPU number `id`, without contexts and roots. */
export function createShadowMmuVcpu(mmu: ShadowMmu, cpu: Cpu, id: number): ShadowMmuVcpu {
  const vcpu = new ShadowMmuVcpu(mmu, id, mmu.frames.allocateSpan(cpu, VCPU_BYTES));
  cpu.writeOnce32(vcpu.currentWord, vcpu.rootMmu.address);
  cpu.writeOnce(vcpu.mmioGenerationWord, NOTHING);
  cpu.writeOnce(vcpu.lastRetryAddrWord, NOTHING);
  return vcpu;
}

/** What no generation and no address is. */
export const NOTHING: bigint = 2n ** 64n - 1n;

/** `kvm_mmu_destroy`: frees what `createShadowMmuVcpu` made. The roots must have been freed. */
export function destroyShadowMmuVcpu(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu): void {
  for (const context of [vcpu.rootMmu, vcpu.guestMmu]) {
    for (const word of [context.paeRootWord, context.pml4RootWord, context.pml5RootWord]) {
      const frame = cpu.readOnce32(word) as Address;
      if (frame !== 0) mmu.frames.freeFrame(cpu, frame);
    }
  }
  vcpu.pteListDescCache.drain(cpu);
  vcpu.shadowPageCache.drain(cpu);
  vcpu.shadowedInfoCache.drain(cpu);
  vcpu.pageHeaderCache.drain(cpu);
  mmu.frames.freeSpan(cpu, vcpu.address);
}
