export const P = 1n;
export const W = 2n;
export const U = 4n;
export const A = 0x20n;
export const D = 0x40n;
export const PS = 0x80n;
export const NX = 1n << 63n;

export const EPT_R = 1n;
export const EPT_W = 2n;
export const EPT_X = 4n;
export const EPT_RWX = 7n;
export const EPT_WB = 6n << 3n;
export const EPT_A = 0x100n;
export const EPT_D = 0x200n;
export const EPT_XU = 0x400n;

const PAGE = 4096;

/** Guest memory, as a processor of the guest's reads and writes it. */
export interface GuestBytes {
  peek(gpa: number): bigint;
  poke(gpa: number, value: bigint): void;
}

/** Builds a guest's page tables in its memory, a page per table from `firstGfn` on. */
export class GuestTables {
  /** Frame of the root table; for PAE the page with the four PDPTEs. */
  readonly rootGfn: number;
  private nextGfn: number;

  /**
   * @param levels 3 for PAE, 4 or 5
   * @param tableFlags of every entry that points to a table
   */
  constructor(
    private readonly rig: GuestBytes,
    readonly levels: 3 | 4 | 5,
    readonly tableFlags: bigint,
    firstGfn = 1,
  ) {
    this.rootGfn = firstGfn;
    this.nextGfn = firstGfn + 1;
  }

  /** Guest-physical address of the entry for `addr` in the table of `level`. The tables above must exist. */
  entry(addr: number, level: number): number {
    let table = this.rootGfn;
    for (let at: number = this.levels; at > level; at--) {
      table = Number((this.rig.peek(this.slot(table, addr, at)) >> 12n) & 0xffffffffffn);
    }
    return this.slot(table, addr, level);
  }

  /** Maps `addr` at `level` by the leaf value `gfn`, `flags`; makes the tables on the way. */
  map(addr: number, gfn: number, flags: bigint, level = 1): void {
    let table = this.rootGfn;
    for (let at: number = this.levels; at > level; at--) {
      const slot = this.slot(table, addr, at);
      if (this.rig.peek(slot) === 0n) {
        const isPdpte = this.levels === 3 && at === 3;
        this.rig.poke(slot, (BigInt(this.nextGfn++) << 12n) | (isPdpte ? P : this.tableFlags));
      }
      table = Number((this.rig.peek(slot) >> 12n) & 0xffffffffffn);
    }
    this.rig.poke(this.slot(table, addr, level), (BigInt(gfn) << 12n) | flags);
  }

  /** Frame of the table of `level` on the path of `addr`. */
  tableGfn(addr: number, level: number): number {
    return Math.floor(this.entry(addr, level) / PAGE);
  }

  private slot(table: number, addr: number, level: number): number {
    const span = PAGE * 512 ** (level - 1);
    const entries = this.levels === 3 && level === 3 ? 4 : 512;
    return table * PAGE + (Math.floor(addr / span) % entries) * 8;
  }
}
