/** What the mask set-up asks of the host CPU and of the module parameters. */
export interface HostCpu {
  /** CPUID 0x80000008 MAXPHYADDR, 32 to 52: key and encryption bits counted (`kvm_host.maxphyaddr`). */
  readonly maxPhyAddr: number;
  /** Physical address bits left after memory-encryption key bits are taken away (`x86_phys_bits`). */
  readonly x86PhysBits: number;
  /** Address bits of an L1 cache tag (`x86_cache_bits`). */
  readonly x86CacheBits: number;
  /** Whether the CPU is affected by L1TF. */
  readonly bugL1tf: boolean;
  /** AMD memory-encryption bit (C-bit) as a mask; 0 when off (`sme_me_mask`). */
  readonly smeMeMask: bigint;
  /** Module parameter `mmio_caching` as it was given at load (`allow_mmio_caching`). */
  readonly allowMmioCaching: boolean;
}
