import type { Cpu } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import type { GuestTableFormat } from "./guest-table-format.js";

const PAGE_BYTES = 4096;
const ENTRIES = 512;
const ROOT_LEVEL = 4;
const ADDRESS_MASK = 0xf_ffff_ffff_f000n;

/** Writes and reads guest memory from outside the guest, as a hypervisor that loads a guest does. */
export interface GuestMemoryLoader {
  loadUser(cpu: Cpu, hva: Hva, size: 8, atomic: boolean): bigint | null;
  storeUser(cpu: Cpu, hva: Hva, size: 8, value: bigint, atomic: boolean): boolean;
}

/** Where a guest keeps its page tables. Plain data. */
export interface GuestTableArea {
  /** Guest-physical address of the first byte. */
  readonly gpa: number;
  readonly hva: Hva;
  readonly pages: number;
}

/** Thrown when a guest's page tables do not fit into the memory set aside for them, or that memory cannot be accessed. */
export class GuestTableAreaError extends Error {
  override readonly name = "GuestTableAreaError";

  constructor(
    readonly what: string,
    readonly area: GuestTableArea,
  ) {
    super(`${what}: ${area.pages} pages at guest-physical 0x${area.gpa.toString(16)}`);
  }
}

/** Pages of page tables that map `pages` consecutive 4 KiB pages, at most. */
export function guestTablePages(pages: number): number {
  let total = 1;
  for (let span = ENTRIES; span < ENTRIES ** ROOT_LEVEL; span *= ENTRIES) {
    // One more than needed, for a range that does not begin at a boundary.
    total += Math.ceil(pages / span) + 1;
  }
  return total;
}

/**
 * Four-level page tables in guest memory, built before the guest runs, as the selftests do (`virt_map`). The bytes are the guest's
 * from then on.
 */
export class GuestTables {
  private used = 1;

  constructor(
    private readonly memory: GuestMemoryLoader,
    private readonly area: GuestTableArea,
    private readonly format: GuestTableFormat,
  ) {}

  /** Guest-physical address of the root, what CR3 or the nested root holds. */
  get rootGpa(): number {
    return this.area.gpa;
  }

  /**
   * Maps `pages` 4 KiB pages from linear address `from` to guest-physical `to`, in pages of `level` 1 (4 KiB) or 2 (2 MiB).
   *
   * @throws GuestTableAreaError if the area is full or not accessible.
   */
  map(cpu: Cpu, from: number, to: number, pages: number, level: 1 | 2): void {
    const step = PAGE_BYTES * ENTRIES ** (level - 1);
    const flags = level === 1 ? this.format.page : this.format.largePage;
    for (let mapped = 0; mapped < pages * PAGE_BYTES; mapped += step) {
      const table = this.tableFor(cpu, from + mapped, level);
      this.write(cpu, table + indexOf(from + mapped, level) * 8, BigInt(to + mapped) | flags);
    }
  }

  /** Guest-physical address of the entry of `level` that maps `from`; the tables above it must be there. */
  entryGpa(cpu: Cpu, from: number, level: 1 | 2): number {
    return this.tableFor(cpu, from, level) + indexOf(from, level) * 8;
  }

  /** The table of `level` on the way to `address`, made if it is not there. */
  private tableFor(cpu: Cpu, address: number, level: number): number {
    let table = this.area.gpa;
    for (let above = ROOT_LEVEL; above > level; above--) {
      const entry = table + indexOf(address, above) * 8;
      const value = this.read(cpu, entry);
      table = value === 0n ? this.newTable(cpu, entry) : Number(value & ADDRESS_MASK);
    }
    return table;
  }

  private newTable(cpu: Cpu, entry: number): number {
    if (this.used === this.area.pages) throw new GuestTableAreaError("guest page tables are full", this.area);
    const table = this.area.gpa + this.used++ * PAGE_BYTES;
    this.write(cpu, entry, BigInt(table) | this.format.table);
    return table;
  }

  private hvaOf(gpa: number): Hva {
    return (this.area.hva + (gpa - this.area.gpa)) as Hva;
  }

  private read(cpu: Cpu, gpa: number): bigint {
    const value = this.memory.loadUser(cpu, this.hvaOf(gpa), 8, false);
    if (value === null) throw new GuestTableAreaError("guest page tables cannot be read", this.area);
    return BigInt.asUintN(64, value);
  }

  private write(cpu: Cpu, gpa: number, value: bigint): void {
    if (!this.memory.storeUser(cpu, this.hvaOf(gpa), 8, value, false)) {
      throw new GuestTableAreaError("guest page tables cannot be written", this.area);
    }
  }
}

/** Index of the entry for `address` in a table of `level`. */
function indexOf(address: number, level: number): number {
  return Math.floor(address / (PAGE_BYTES * ENTRIES ** (level - 1))) % ENTRIES;
}
