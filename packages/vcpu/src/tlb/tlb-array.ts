import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import type { TlbArrayGeometry } from "./tlb-geometry.js";

// An entry is four u32 words:
//   0  bits 31:0 of the page number (address divided by the array's page size)
//   4  stamp: bits 40:32 of the page number in 31:23, generation in 22:0; 0 is empty, as no generation is 0
//   8  bits 39:32 of the host pfn in 15:8, permissions in 5:0
//  12  bits 31:0 of the host pfn
const ENTRY_BYTES = 16;
const STAMP = 4;
const PFN_HIGH_AND_PERMISSIONS = 8;
const PFN_LOW = 12;

const PERMISSIONS_MASK = 0x3f;
const PAGE_HIGH_SHIFT = 23;
const PFN_HIGH_SHIFT = 8;
const LOW_RANGE = 2 ** 32;

const GENERATION_BITS = 2 ** PAGE_HIGH_SHIFT - 1;

/** One entry of an array. */
export interface TlbEntry {
  /** Page number in pages of the array's size. */
  readonly page: number;
  /** First host pfn. */
  readonly pfn: number;
  /** `PERMISSION_…` bits. */
  readonly permissions: number;
}

/** Returned by `probe` for a page that is not cached with the permission. */
export const TLB_MISS = -1;

/** Bytes of an array: its entries, then one victim word per set. */
export function tlbArrayBytes({ entries, ways }: TlbArrayGeometry): number {
  return entries * ENTRY_BYTES + Math.ceil(entries / ways / 2) * 8;
}

function stampOf(page: number, generation: number): number {
  if (page < LOW_RANGE) return generation;
  return ((Math.floor(page / LOW_RANGE) << PAGE_HIGH_SHIFT) | generation) >>> 0;
}

/**
 * One set-associative array of a TLB: pages of one size, round-robin replacement. Its words belong to one vCPU's thread,
 * so plain accesses do. A page number is below 2^41.
 */
export class TlbArray {
  private readonly setMask: number;
  private readonly setBytes: number;
  private readonly victims: Address;

  /**
   * @param address of `tlbArrayBytes(geometry)` bytes, all zero when new
   */
  constructor(
    private readonly address: Address,
    private readonly geometry: TlbArrayGeometry,
  ) {
    this.setMask = geometry.entries / geometry.ways - 1;
    this.setBytes = geometry.ways * ENTRY_BYTES;
    this.victims = offset(address, geometry.entries * ENTRY_BYTES);
  }

  /** The first host pfn of the cached page, or `TLB_MISS` if it is not cached with all of `permission`. */
  probe(cpu: Cpu, page: number, generation: number, permission: number): number {
    const entry = this.find(cpu, page, generation);
    if (entry === NULL_ADDRESS) return TLB_MISS;
    const word = cpu.readOnce32(offset(entry, PFN_HIGH_AND_PERMISSIONS));
    if ((word & permission) !== permission) return TLB_MISS;
    return (word >>> PFN_HIGH_SHIFT) * LOW_RANGE + cpu.readOnce32(offset(entry, PFN_LOW));
  }

  /** Caches a page, over its own entry if it has one, else over the set's next victim. */
  fill(cpu: Cpu, page: number, generation: number, permissions: number, pfn: number): void {
    const cached = this.find(cpu, page, generation);
    const entry = cached === NULL_ADDRESS ? this.takeVictim(cpu, page) : cached;
    const high = Math.floor(pfn / LOW_RANGE) << PFN_HIGH_SHIFT;
    cpu.writeOnce32(entry, page >>> 0);
    cpu.writeOnce32(offset(entry, STAMP), stampOf(page, generation));
    cpu.writeOnce32(offset(entry, PFN_HIGH_AND_PERMISSIONS), high | (permissions & PERMISSIONS_MASK));
    cpu.writeOnce32(offset(entry, PFN_LOW), pfn >>> 0);
  }

  /** Drops one page, if it is cached. */
  invalidate(cpu: Cpu, page: number, generation: number): void {
    const entry = this.find(cpu, page, generation);
    if (entry !== NULL_ADDRESS) cpu.writeOnce32(offset(entry, STAMP), 0);
  }

  /** Every entry of one generation, in the order of its place. */
  entriesOf(cpu: Cpu, generation: number): TlbEntry[] {
    const entries: TlbEntry[] = [];
    for (let index = 0; index < this.geometry.entries; index++) {
      const entry = offset(this.address, index * ENTRY_BYTES);
      const stamp = cpu.readOnce32(offset(entry, STAMP));
      if ((stamp & GENERATION_BITS) !== generation) continue;
      const page = (stamp >>> PAGE_HIGH_SHIFT) * LOW_RANGE + cpu.readOnce32(entry);
      const word = cpu.readOnce32(offset(entry, PFN_HIGH_AND_PERMISSIONS));
      const pfn = (word >>> PFN_HIGH_SHIFT) * LOW_RANGE + cpu.readOnce32(offset(entry, PFN_LOW));
      entries.push({ page, pfn, permissions: word & PERMISSIONS_MASK });
    }
    return entries;
  }

  /** Empties every entry, of whatever generation. */
  clear(cpu: Cpu): void {
    cpu.memset64(this.address, 0n, tlbArrayBytes(this.geometry) / 8);
  }

  private find(cpu: Cpu, page: number, generation: number): Address {
    const low = page >>> 0;
    const stamp = stampOf(page, generation);
    const set = offset(this.address, (low & this.setMask) * this.setBytes);
    const end = set + this.setBytes;
    for (let entry = set; entry < end; entry = offset(entry, ENTRY_BYTES)) {
      if (cpu.readOnce32(entry) === low && cpu.readOnce32(offset(entry, STAMP)) === stamp) return entry;
    }
    return NULL_ADDRESS;
  }

  private takeVictim(cpu: Cpu, page: number): Address {
    const set = (page >>> 0) & this.setMask;
    const victimWord = offset(this.victims, set * 4);
    const way = cpu.readOnce32(victimWord);
    cpu.writeOnce32(victimWord, way + 1 === this.geometry.ways ? 0 : way + 1);
    return offset(this.address, set * this.setBytes + way * ENTRY_BYTES);
  }
}
