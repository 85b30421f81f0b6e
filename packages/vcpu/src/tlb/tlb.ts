import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { PAGES_PER_LEAF } from "../walk/pages-per-leaf.js";
import { TLB_MISS, TlbArray, tlbArrayBytes } from "./tlb-array.js";
import type { TlbGeometry } from "./tlb-geometry.js";

// The control word, a u32: generation in 23:0, and in 26:24 which page sizes may be cached in this generation (bit 24:
// 4 KiB, 25: 2 MiB, 26: 1 GiB), so that a lookup skips arrays that hold nothing.
const CONTROL_BYTES = 8;
const GENERATION_MASK = 0xff_ffff;
const SIZES_SHIFT = 24;
const FIRST_GENERATION = 1;

const LEVELS = [1, 2, 3] as const;

/** Bytes of a TLB. */
export function tlbBytes({ small, large, huge }: TlbGeometry): number {
  return CONTROL_BYTES + tlbArrayBytes(small) + tlbArrayBytes(large) + tlbArrayBytes(huge);
}

/**
 * The translations one vCPU has cached: gfn to host pfn, with what may be done without another walk. A flush is one
 * store (the generation moves on). Paging-structure caches (of upper-level entries) are not modelled.
 */
export class Tlb {
  private readonly arrays: readonly TlbArray[];

  /** @param control address of `tlbBytes(geometry)` bytes made ready by `reset` */
  constructor(
    private readonly control: Address,
    geometry: TlbGeometry,
  ) {
    const small = offset(control, CONTROL_BYTES);
    const large = offset(small, tlbArrayBytes(geometry.small));
    const huge = offset(large, tlbArrayBytes(geometry.large));
    this.arrays = [
      new TlbArray(small, geometry.small),
      new TlbArray(large, geometry.large),
      new TlbArray(huge, geometry.huge),
    ];
  }

  /** Makes an empty TLB of whatever the memory held. */
  reset(cpu: Cpu): void {
    for (const array of this.arrays) array.clear(cpu);
    cpu.writeOnce32(this.control, FIRST_GENERATION);
  }

  /**
   * The host pfn of a frame, or `TLB_MISS`. Small pages are asked first; an entry without the permission does not
   * hide a larger one that has it.
   */
  lookup(cpu: Cpu, gfn: number, permission: number): number {
    const control = cpu.readOnce32(this.control);
    const sizes = control >>> SIZES_SHIFT;
    const generation = control & GENERATION_MASK;
    if ((sizes & 1) !== 0) {
      const pfn = this.arrays[0]!.probe(cpu, gfn, generation, permission);
      if (pfn !== TLB_MISS) return pfn;
    }
    if ((sizes & 2) !== 0) {
      const pfn = this.lookupLarger(cpu, 2, gfn, generation, permission);
      if (pfn !== TLB_MISS) return pfn;
    }
    return (sizes & 4) === 0 ? TLB_MISS : this.lookupLarger(cpu, 3, gfn, generation, permission);
  }

  /**
   * Caches the leaf that a walk found.
   *
   * @param permissions writing only if the leaf's Dirty flag is set (or not maintained)
   * @param pfn of the leaf's first frame
   */
  fill(cpu: Cpu, level: 1 | 2 | 3, gfn: number, permissions: number, pfn: number): void {
    const control = cpu.readOnce32(this.control);
    const sizeBit = 1 << (SIZES_SHIFT + level - 1);
    if ((control & sizeBit) === 0) cpu.writeOnce32(this.control, (control | sizeBit) >>> 0);
    const page = Math.floor(gfn / PAGES_PER_LEAF[level]);
    this.arrays[level - 1]!.fill(cpu, page, control & GENERATION_MASK, permissions, pfn);
  }

  /** Drops every translation of one frame, of any size. */
  invalidate(cpu: Cpu, gfn: number): void {
    const control = cpu.readOnce32(this.control);
    for (const level of LEVELS) {
      if (((control >>> (SIZES_SHIFT + level - 1)) & 1) === 0) continue;
      const page = Math.floor(gfn / PAGES_PER_LEAF[level]);
      this.arrays[level - 1]!.invalidate(cpu, page, control & GENERATION_MASK);
    }
  }

  /** Drops every translation. */
  flush(cpu: Cpu): void {
    const generation = cpu.readOnce32(this.control) & GENERATION_MASK;
    // Before a generation comes back, entries that still carry it must go.
    if (generation === GENERATION_MASK) this.reset(cpu);
    else cpu.writeOnce32(this.control, generation + 1);
  }

  private lookupLarger(cpu: Cpu, level: 2 | 3, gfn: number, generation: number, permission: number): number {
    const pages = PAGES_PER_LEAF[level];
    const page = Math.floor(gfn / pages);
    const pfn = this.arrays[level - 1]!.probe(cpu, page, generation, permission);
    return pfn === TLB_MISS ? TLB_MISS : pfn + (gfn - page * pages);
  }
}
