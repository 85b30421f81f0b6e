import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { MapCountError } from "../errors.js";
import { MM_MAP_COUNT } from "../mm/mm-layout.js";

/** Bytes of a VMA: u32 first page, u32 page behind the last, u32 flags, u32 unused. */
export const VMA_BYTES = 16;

/** The mapping may be written (kernel `VM_WRITE`). */
export const VM_WRITE = 0x2;
/** The entries hold bare pfns, without page records (kernel `VM_PFNMAP`). */
export const VM_PFNMAP = 0x400;
/** Huge pages are wanted (kernel `VM_HUGEPAGE`). */
export const VM_HUGEPAGE = 0x20000000;

/** Number of a VMA in the order of addresses; -1 is none. Valid while the mmap lock is held. */
export type VmaNumber = number;

/**
 * The mappings of the address space, an array in the order of addresses (the kernel keeps a maple tree). Pages are
 * numbers within the mapping window. All under the mmap lock: readers held for read, changes for write.
 */
export class VmaTable {
  private readonly countWord: Address;

  constructor(
    mm: Address,
    private readonly address: Address,
    readonly limit: number,
  ) {
    this.countWord = offset(mm, MM_MAP_COUNT);
  }

  count(cpu: Cpu): number {
    return cpu.readOnce32(this.countWord);
  }

  start(cpu: Cpu, vma: VmaNumber): number {
    return cpu.readOnce32(offset(this.address, vma * VMA_BYTES));
  }

  /** Page behind the last. */
  end(cpu: Cpu, vma: VmaNumber): number {
    return cpu.readOnce32(offset(this.address, vma * VMA_BYTES + 4));
  }

  flags(cpu: Cpu, vma: VmaNumber): number {
    return cpu.readOnce32(offset(this.address, vma * VMA_BYTES + 8));
  }

  setFlags(cpu: Cpu, vma: VmaNumber, flags: number): void {
    cpu.writeOnce32(offset(this.address, vma * VMA_BYTES + 8), flags);
  }

  /** `find_vma`: the first VMA that ends behind page `index`; `count` if there is none. */
  findVma(cpu: Cpu, index: number): VmaNumber {
    let low = 0;
    let high = this.count(cpu);
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.end(cpu, middle) > index) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** `vma_lookup`: the VMA that contains page `index`, or -1. */
  vmaLookup(cpu: Cpu, index: number): VmaNumber {
    const vma = this.findVma(cpu, index);
    return vma < this.count(cpu) && this.start(cpu, vma) <= index ? vma : -1;
  }

  /**
   * Adds a VMA where no other is.
   *
   * @throws MapCountError if the table is full.
   */
  insert(cpu: Cpu, start: number, end: number, flags: number): void {
    const count = this.count(cpu);
    if (count === this.limit) throw new MapCountError(this.limit);
    const place = this.findVma(cpu, start);
    for (let vma = count; vma > place; vma--) {
      this.write(cpu, vma, this.start(cpu, vma - 1), this.end(cpu, vma - 1), this.flags(cpu, vma - 1));
    }
    this.write(cpu, place, start, end, flags);
    cpu.writeOnce32(this.countWord, count + 1);
  }

  remove(cpu: Cpu, vma: VmaNumber): void {
    const count = this.count(cpu) - 1;
    for (let next = vma; next < count; next++) {
      this.write(cpu, next, this.start(cpu, next + 1), this.end(cpu, next + 1), this.flags(cpu, next + 1));
    }
    cpu.writeOnce32(this.countWord, count);
  }

  /**
   * `split_vma`: makes `index` a border: if a VMA has pages on both sides of it, it becomes two.
   *
   * @throws MapCountError if the table is full.
   */
  splitAt(cpu: Cpu, index: number): void {
    const vma = this.vmaLookup(cpu, index);
    if (vma < 0) return;
    const start = this.start(cpu, vma);
    if (start === index) return;
    const end = this.end(cpu, vma);
    if (this.count(cpu) === this.limit) throw new MapCountError(this.limit);
    this.write(cpu, vma, start, index, this.flags(cpu, vma));
    this.insert(cpu, index, end, this.flags(cpu, vma));
  }

  /** First gap of `pages` pages that begins at a multiple of `alignment` and ends by `limit`; -1 if there is none. */
  findGap(cpu: Cpu, pages: number, alignment: number, limit: number): number {
    const count = this.count(cpu);
    let start = 0;
    for (let vma = 0; vma < count; vma++) {
      if (start + pages <= this.start(cpu, vma)) return start;
      start = Math.ceil(this.end(cpu, vma) / alignment) * alignment;
    }
    return start + pages <= limit ? start : -1;
  }

  private write(cpu: Cpu, vma: VmaNumber, start: number, end: number, flags: number): void {
    const address = offset(this.address, vma * VMA_BYTES);
    cpu.writeOnce32(address, start);
    cpu.writeOnce32(offset(address, 4), end);
    cpu.writeOnce32(offset(address, 8), flags);
  }
}
