import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { PAGES_PER_LEAF } from "../walk/pages-per-leaf.js";
import { TLB_MISS, TlbArray, tlbArrayBytes } from "./tlb-array.js";
import { CONTEXTS_BYTES, FRAGMENTED, GENERATION_MASK, SIZES_SHIFT, TlbContexts } from "./tlb-contexts.js";
import type { TlbGeometry } from "./tlb-geometry.js";

const LEVELS = [1, 2, 3] as const;

/** Bytes of a TLB. */
export function tlbBytes({ small, large, huge }: TlbGeometry): number {
  return CONTEXTS_BYTES + tlbArrayBytes(small) + tlbArrayBytes(large) + tlbArrayBytes(huge);
}

/** What a walk found, for the TLB to cache. */
export interface Translation {
  /** Level whose pages it spans: the smaller one, if two dimensions have different sizes. */
  readonly level: 1 | 2 | 3;
  /** `PERMISSION_…` bits; writing only if the Dirty flags are set (or not maintained). */
  readonly permissions: number;
  /** The guest maps the address with a larger page than `level`'s. */
  readonly fragment: boolean;
}

/** One cached translation, for checkers. */
export interface CachedTranslation {
  /** 0 the guest, 1 its nested guest. */
  readonly vpid: number;
  readonly pcid: number;
  /** Level whose pages it spans. */
  readonly level: 1 | 2 | 3;
  /** First page of the span: address divided by 4096. */
  readonly page: number;
  /** Host pfn of that page. */
  readonly pfn: number;
  /** `PERMISSION_…` bits: what may be done without another walk. */
  readonly permissions: number;
}

/**
 * The translations one vCPU has cached: page number of an address to host pfn, with what may be done without another
 * walk. The address is what the guest uses: guest-linear, which without guest paging is guest-physical. Paging-structure
 * caches (of upper-level entries), cached second-level translations and global pages are not modelled.
 */
export class Tlb {
  /** Which translations count. */
  readonly contexts: TlbContexts;
  private readonly arrays: readonly TlbArray[];

  /** @param address of `tlbBytes(geometry)` bytes made ready by `reset` */
  constructor(address: Address, geometry: TlbGeometry) {
    const small = offset(address, CONTEXTS_BYTES);
    const large = offset(small, tlbArrayBytes(geometry.small));
    const huge = offset(large, tlbArrayBytes(geometry.large));
    const arrays = [
      new TlbArray(small, geometry.small),
      new TlbArray(large, geometry.large),
      new TlbArray(huge, geometry.huge),
    ];
    this.arrays = arrays;
    this.contexts = new TlbContexts(address, (cpu) => {
      for (const array of arrays) array.clear(cpu);
    });
  }

  /** Makes an empty TLB of whatever the memory held. */
  reset(cpu: Cpu): void {
    this.contexts.reset(cpu);
  }

  /**
   * The host pfn of a page, or `TLB_MISS`. Small pages are asked first; an entry without the permission does not
   * hide a larger one that has it.
   */
  lookup(cpu: Cpu, page: number, permission: number): number {
    const control = this.contexts.control(cpu);
    const sizes = control >>> SIZES_SHIFT;
    const generation = control & GENERATION_MASK;
    if ((sizes & 1) !== 0) {
      const pfn = this.arrays[0]!.probe(cpu, page, generation, permission);
      if (pfn !== TLB_MISS) return pfn;
    }
    if ((sizes & 2) !== 0) {
      const pfn = this.lookupLarger(cpu, 2, page, generation, permission);
      if (pfn !== TLB_MISS) return pfn;
    }
    return (sizes & 4) === 0 ? TLB_MISS : this.lookupLarger(cpu, 3, page, generation, permission);
  }

  /**
   * Caches what a walk found for `page`, in the current context.
   *
   * @param pfn of `page` itself
   */
  fill(cpu: Cpu, page: number, pfn: number, { level, permissions, fragment }: Translation): void {
    const control = this.contexts.control(cpu);
    const wanted = (1 << (SIZES_SHIFT + level - 1)) | (fragment ? FRAGMENTED : 0);
    if ((control & wanted) !== wanted) this.contexts.setControl(cpu, (control | wanted) >>> 0);
    const pages = PAGES_PER_LEAF[level];
    const number = Math.floor(page / pages);
    const first = pfn - (page - number * pages);
    this.arrays[level - 1]!.fill(cpu, number, control & GENERATION_MASK, permissions, first);
  }

  /** Drops every translation of one address in the current context, of any size. */
  invalidate(cpu: Cpu, page: number): void {
    const control = this.contexts.control(cpu);
    for (const level of LEVELS) {
      if (((control >>> (SIZES_SHIFT + level - 1)) & 1) === 0) continue;
      const number = Math.floor(page / PAGES_PER_LEAF[level]);
      this.arrays[level - 1]!.invalidate(cpu, number, control & GENERATION_MASK);
    }
  }

  /**
   * Drops every translation of the page that the guest maps at an address. That page may be larger than its entries (Intel
   * SDM vol. 3, "Details of TLB use"): once a context has such fragments, all of it goes, which a processor may do.
   */
  invalidateGuestPage(cpu: Cpu, page: number): void {
    if ((this.contexts.control(cpu) & FRAGMENTED) !== 0) this.contexts.dropCurrent(cpu);
    else this.invalidate(cpu, page);
  }

  /** Everything that a lookup could find, in whatever context. */
  cached(cpu: Cpu): CachedTranslation[] {
    return this.contexts.valid(cpu).flatMap(({ vpid, pcid, generation }) =>
      LEVELS.flatMap((level) =>
        this.arrays[level - 1]!.entriesOf(cpu, generation).map(({ page, pfn, permissions }) => ({
          vpid,
          pcid,
          level,
          page: page * PAGES_PER_LEAF[level],
          pfn,
          permissions,
        })),
      ),
    );
  }

  private lookupLarger(cpu: Cpu, level: 2 | 3, page: number, generation: number, permission: number): number {
    const pages = PAGES_PER_LEAF[level];
    const number = Math.floor(page / pages);
    const pfn = this.arrays[level - 1]!.probe(cpu, number, generation, permission);
    return pfn === TLB_MISS ? TLB_MISS : pfn + (page - number * pages);
  }
}
