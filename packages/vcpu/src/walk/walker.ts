import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { type Gfn, PG_LEVEL_4K, type PgLevel, spteIndex } from "@kvm-age/spte";
import { PERMISSION_ALL, PERMISSION_WRITE } from "../access/permission.js";
import { PAGE_SIZE_BIT, type PageFormat } from "../format/page-format.js";
import {
  addStatistic,
  STATISTIC_ACCESSED_SET,
  STATISTIC_DIRTY_SET,
  STATISTIC_WALKS,
} from "../statistics/statistic-words.js";
import type { Tlb } from "../tlb/tlb.js";
import { PAGES_PER_LEAF } from "./pages-per-leaf.js";
import { WALK_FAULT_PRESENT, WALK_FAULT_RESERVED, WALK_RACED, walkFault } from "./walk-fault.js";

const FRAMES_PER_HIGH_UNIT = 2 ** 20;
const FRAME_BYTES = 4096;

/**
 * Splits a 64-bit word into its halves, low one first (processors that JavaScript runs on are little-endian): several
 * times faster than shifting a `bigint`. Written and read without an access in between, so it is no state.
 */
const splitWord = new BigUint64Array(1);
const splitHalves = new Uint32Array(splitWord.buffer);

/**
 * The hardware page walker: reads each entry once, top down, sets Accessed in every entry it uses and Dirty in the leaf
 * of a write, and caches what it found. It holds no lock and knows no software bit. It runs inside the guest only: a
 * table that software unlinks is kept until this vCPU has acknowledged the flush.
 *
 * Accessed is set as the walk goes down, so a walk that ends in a fault may have set it in the tables above; the leaf
 * gets it only when the access is allowed. (Intel SDM vol. 3, "Accessed and dirty flags for EPT"; AMD APM vol. 2
 * §15.25.5 and §5.4.2.)
 */
export class Walker {
  private readonly accessed: bigint;
  private readonly accessedAndDirty: bigint;

  constructor(
    private readonly format: PageFormat,
    private readonly rootLevel: PgLevel,
    private readonly tlb: Tlb,
    private readonly statistics: Address,
  ) {
    this.accessed = BigInt(format.accessedMask);
    this.accessedAndDirty = BigInt(format.accessedMask | format.dirtyMask);
  }

  /**
   * Translates `gfn` for an access that needs `permission` (one bit). Returns the host pfn (0 or above), or a negative
   * number that `walkFaultFlags` explains.
   */
  walk(cpu: Cpu, root: Address, gfn: Gfn, permission: number): number {
    for (;;) {
      addStatistic(cpu, this.statistics, STATISTIC_WALKS);
      const result = this.walkOnce(cpu, root, gfn, permission);
      // Whoever changed the entry got on with its work, so some processor always does.
      if (result !== WALK_RACED) return result;
    }
  }

  private walkOnce(cpu: Cpu, root: Address, gfn: Gfn, permission: number): number {
    const { format } = this;
    let table = root;
    let allowed = PERMISSION_ALL;
    for (let level = this.rootLevel; ; level = (level - 1) as PgLevel) {
      const address = offset(table, spteIndex(gfn, level) * 8);
      const entry = cpu.readOnce(address);
      splitWord[0] = entry;
      const low = splitHalves[0]!;
      const high = splitHalves[1]!;
      if ((low & format.presentMask) === 0) return walkFault(0);
      const leaf = level === PG_LEVEL_4K || (level <= 3 && (low & PAGE_SIZE_BIT) !== 0);
      if (format.isReserved(low, high, level, leaf))
        return walkFault(WALK_FAULT_PRESENT | WALK_FAULT_RESERVED);
      allowed &= format.permissions(low, high);
      if (leaf && (allowed & permission) === 0) return walkFault(WALK_FAULT_PRESENT | allowed);
      const setsDirty = leaf && permission === PERMISSION_WRITE;
      if (!this.useEntry(cpu, address, entry, low, setsDirty)) return WALK_RACED;
      const pfn = (high & format.addressHighMask) * FRAMES_PER_HIGH_UNIT + (low >>> 12);
      if (leaf) {
        const dirty = setsDirty || (low & format.dirtyMask) === format.dirtyMask;
        return this.cache(cpu, level as 1 | 2 | 3, gfn, dirty ? allowed : allowed & ~PERMISSION_WRITE, pfn);
      }
      table = (pfn * FRAME_BYTES) as Address;
    }
  }

  /**
   * Sets Accessed, and Dirty if asked for, in an entry as it was read; nothing is written if they are set already. One
   * compare-exchange, as the hardware's locked update: it pairs with every software change of the entry (aging, zapping,
   * write protection). If another processor changed the entry in between, nothing is written and the answer is false: a
   * flag is never added to a value the walk did not check.
   */
  private useEntry(cpu: Cpu, address: Address, entry: bigint, low: number, setsDirty: boolean): boolean {
    const { accessedMask, dirtyMask } = this.format;
    const wanted = setsDirty ? accessedMask | dirtyMask : accessedMask;
    const missing = wanted & ~low;
    if (missing === 0) return true;
    const flags = setsDirty ? this.accessedAndDirty : this.accessed;
    if (cpu.cmpxchg(address, entry, BigInt.asUintN(64, entry | flags), "full") !== entry) return false;
    if ((missing & accessedMask) !== 0) addStatistic(cpu, this.statistics, STATISTIC_ACCESSED_SET);
    if ((missing & dirtyMask) !== 0) addStatistic(cpu, this.statistics, STATISTIC_DIRTY_SET);
    return true;
  }

  /** Caches the leaf and returns the frame inside it. The low pfn bits of a large NPT leaf may hold its PAT bit. */
  private cache(cpu: Cpu, level: 1 | 2 | 3, gfn: Gfn, permissions: number, pfn: number): number {
    const pages = PAGES_PER_LEAF[level];
    const first = pfn - (pfn % pages);
    this.tlb.fill(cpu, level, gfn, permissions, first);
    return first + (gfn % pages);
  }
}
