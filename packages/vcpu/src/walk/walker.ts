import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { type Gfn, PG_LEVEL_4K, type PgLevel, spteIndex } from "@kvm-age/spte";
import { PERMISSION_ANY_WRITE } from "../access/permission.js";
import type { Grants } from "../access/rights.js";
import { PAGE_SIZE_BIT, type PageFormat } from "../format/page-format.js";
import { addStatistic, STATISTIC_ACCESSED_SET, STATISTIC_DIRTY_SET } from "../statistics/statistic-words.js";
import type { Translation } from "../tlb/tlb.js";
import { PAGES_PER_LEAF } from "./pages-per-leaf.js";
import { frameOf, highHalf, lowHalf, setFlags } from "./table-entry.js";
import { WALK_FAULT_PRESENT, WALK_FAULT_RESERVED, WALK_RACED, walkFault } from "./walk-fault.js";

const FRAME_BYTES = 4096;

/**
 * The hardware page walker over the MMU's tables, in host-physical memory: reads each entry once, top down, sets Accessed
 * in every entry it uses and Dirty in the leaf of a write. It holds no lock and knows no software bit. It runs inside the
 * guest only: a table that software unlinks is kept until this vCPU has acknowledged the flush.
 *
 * Accessed is set as the walk goes down, so a walk that ends in a fault may have set it in the tables above; the leaf
 * gets it only when the access is allowed. (Intel SDM vol. 3, "Accessed and dirty flags for EPT"; AMD APM vol. 2
 * §15.25.5 and §5.4.2.)
 *
 * What it found beside the pfn stands in its fields until the next walk: each operation walks before it reads them.
 */
export class Walker implements Translation {
  level: 1 | 2 | 3 = 1;
  permissions = 0;
  readonly fragment = false;
  /** Pages that the tables span. */
  readonly pages: number;

  constructor(
    private readonly format: PageFormat,
    private readonly statistics: Address,
  ) {
    this.pages = format.pdpteLevel === 3 ? 2 ** 20 : 2 ** (9 * format.rootLevel);
  }

  /**
   * One walk for an access to a page that needs `permission` (one bit). Returns the host pfn (0 or above), `WALK_RACED`,
   * or a negative number that `walkFaultFlags` explains.
   *
   * @param grants what the format's rights permit
   */
  walk(cpu: Cpu, root: Address, page: number, permission: number, grants: Grants): number {
    const { format } = this;
    let table = root;
    let rights = format.allRights;
    for (let level = format.rootLevel as PgLevel; ; level = (level - 1) as PgLevel) {
      const address = offset(table, spteIndex(page as Gfn, level) * 8);
      const entry = cpu.readOnce(address);
      const low = lowHalf(entry);
      const high = highHalf();
      if ((low & format.presentMask) === 0) return walkFault(0);
      const leaf = level === PG_LEVEL_4K || (level <= 3 && (low & PAGE_SIZE_BIT) !== 0);
      if (format.isReserved(low, high, level, leaf))
        return walkFault(WALK_FAULT_PRESENT | WALK_FAULT_RESERVED);
      rights &= format.rights(low, high, level);
      if (leaf && (grants[rights]! & permission) === 0) return walkFault(WALK_FAULT_PRESENT | rights);
      const setsDirty = leaf && (permission & PERMISSION_ANY_WRITE) !== 0;
      if (level !== format.pdpteLevel && !this.useEntry(cpu, address, entry, low, setsDirty))
        return WALK_RACED;
      const pfn = frameOf(format, low, high);
      if (leaf) {
        const dirty = setsDirty || (low & format.dirtyMask) === format.dirtyMask;
        return this.found(level as 1 | 2 | 3, page, pfn, grants[rights]!, dirty);
      }
      table = (pfn * FRAME_BYTES) as Address;
    }
  }

  /** Sets Accessed, and Dirty if asked for; nothing is written if they are set already. False: lost a race. */
  private useEntry(cpu: Cpu, address: Address, entry: bigint, low: number, setsDirty: boolean): boolean {
    const { accessedMask, dirtyMask } = this.format;
    const missing = (setsDirty ? accessedMask | dirtyMask : accessedMask) & ~low;
    if (missing === 0) return true;
    if (!setFlags(cpu, address, entry, missing)) return false;
    if ((missing & accessedMask) !== 0) addStatistic(cpu, this.statistics, STATISTIC_ACCESSED_SET);
    if ((missing & dirtyMask) !== 0) addStatistic(cpu, this.statistics, STATISTIC_DIRTY_SET);
    return true;
  }

  /** The frame inside a leaf. The low pfn bits of a large leaf may hold its PAT bit. */
  private found(level: 1 | 2 | 3, page: number, pfn: number, permissions: number, dirty: boolean): number {
    const pages = PAGES_PER_LEAF[level];
    this.level = level;
    this.permissions = dirty ? permissions : permissions & ~PERMISSION_ANY_WRITE;
    return pfn - (pfn % pages) + (page % pages);
  }
}
