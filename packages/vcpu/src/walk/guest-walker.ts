import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { type Gfn, PG_LEVEL_4K, type PgLevel, spteIndex } from "@kvm-age/spte";
import {
  PERMISSION_ANY_EXECUTE,
  PERMISSION_ANY_WRITE,
  PERMISSION_EXECUTE,
  PERMISSION_READ,
  PERMISSION_USER_EXECUTE,
  PERMISSION_WRITE,
} from "../access/permission.js";
import { type Grants, RIGHT_USER, SECOND_LEVEL_GRANTS } from "../access/rights.js";
import { PAGE_SIZE_BIT, type PageFormat } from "../format/page-format.js";
import type { CompletePagingMode } from "../format/paging-mode.js";
import {
  addStatistic,
  STATISTIC_GUEST_ACCESSED_SET,
  STATISTIC_GUEST_DIRTY_SET,
} from "../statistics/statistic-words.js";
import type { Translation } from "../tlb/tlb.js";
import type { GuestFrames } from "./guest-frames.js";
import { PAGES_PER_LEAF } from "./pages-per-leaf.js";
import { frameOf, highHalf, lowHalf, setFlags } from "./table-entry.js";
import {
  WALK_FAULT_GUEST,
  WALK_FAULT_GUEST_PAGE,
  WALK_FAULT_PRESENT,
  WALK_FAULT_RESERVED,
  WALK_RACED,
  walkFault,
  walkFaultFlags,
} from "./walk-fault.js";
import type { Walker } from "./walker.js";

const PAGE_BYTES = 4096;

/** One guest access under way: what stays the same through its walk. */
export interface GuestWalk {
  /** Root of EPT or NPT. */
  readonly root: Address;
  /** Guest-physical address of the guest's root table. */
  readonly cr3: number;
  readonly gva: number;
  /** One `PERMISSION_…` bit. */
  readonly permission: number;
  /** Of the guest's tables. */
  readonly format: PageFormat;
  readonly grants: Grants;
}

/** A guest entry that the walk stands at. */
interface GuestEntry {
  readonly gpa: number;
  readonly address: Address;
  readonly value: bigint;
}

/**
 * The two-dimensional walk: down the guest's own tables, each of whose entries has a guest-physical address that EPT or NPT
 * translates first, and then the page itself. Flags are set in both dimensions as the walk goes down.
 *
 * To EPT with A/D and to NPT the access to a guest entry is a write, whether or not it changes the entry (Intel SDM vol. 3,
 * "Accessed and dirty flags for EPT"; AMD APM vol. 2 §15.25.6); to EPT without A/D it is a read, and a write when a flag is
 * set. A PDPTE of PAE paging is read to EPT in any case. It is read at each walk, as AMD's processors do; Intel's read
 * all four when CR3 is loaded.
 *
 * What it found beside the pfn stands in its fields until the next walk: each operation walks before it reads them.
 */
export class GuestWalker implements Translation {
  level: 1 | 2 | 3 = 1;
  permissions = 0;
  fragment = false;
  /** Guest-physical address that EPT or NPT refused, if they did. */
  faultGpa = 0;
  /** What was asked of them, in `PERMISSION_…` bits. */
  faultAccess = 0;
  private readonly entryAccess: number;
  private readonly pdpteAccess: number;

  constructor(
    private readonly secondLevel: Walker,
    { pageFormat, adEnabled }: CompletePagingMode,
    private readonly frames: GuestFrames,
    private readonly statistics: Address,
  ) {
    this.entryAccess = adEnabled ? PERMISSION_READ | PERMISSION_WRITE : PERMISSION_READ;
    this.pdpteAccess = pageFormat === "npt" ? this.entryAccess : PERMISSION_READ;
  }

  /** One walk; returns as `Walker.walk`. */
  walk(cpu: Cpu, walk: GuestWalk): number {
    const { format, grants, permission } = walk;
    const page = Math.floor(walk.gva / PAGE_BYTES);
    let table = walk.cr3;
    let rights = format.allRights;
    for (let level = format.rootLevel as PgLevel; ; level = (level - 1) as PgLevel) {
      const gpa = table + spteIndex(page as Gfn, level) * 8;
      const access = level === format.pdpteLevel ? this.pdpteAccess : this.entryAccess;
      const address = this.locateEntry(cpu, walk, gpa, access);
      if (address < 0) return address;
      const value = address === NULL_ADDRESS ? 0n : cpu.readOnce(address as Address);
      const low = lowHalf(value);
      const high = highHalf();
      if ((low & format.presentMask) === 0) return walkFault(WALK_FAULT_GUEST);
      const leaf = level === PG_LEVEL_4K || (level <= 3 && (low & PAGE_SIZE_BIT) !== 0);
      if (format.isReserved(low, high, level, leaf))
        return walkFault(WALK_FAULT_GUEST | WALK_FAULT_PRESENT | WALK_FAULT_RESERVED);
      rights &= format.rights(low, high, level);
      if (leaf && (grants[rights]! & permission) === 0)
        return walkFault(WALK_FAULT_GUEST | WALK_FAULT_PRESENT | rights);
      const setsDirty = leaf && (permission & PERMISSION_ANY_WRITE) !== 0;
      if (level !== format.pdpteLevel) {
        const flags = setsDirty ? format.accessedMask | format.dirtyMask : format.accessedMask;
        const used = this.useEntry(cpu, walk, { gpa, address: address as Address, value }, flags & ~low);
        if (used < 0) return used;
      }
      const frame = frameOf(format, low, high);
      if (leaf) {
        const dirty = setsDirty || (low & format.dirtyMask) !== 0;
        return this.translatePage(cpu, walk, level as 1 | 2 | 3, frame, rights, dirty);
      }
      table = frame * PAGE_BYTES;
    }
  }

  /** Where a guest entry lies, `NULL_ADDRESS` if in a frame without bytes; or a negative result of the walk to it. */
  private locateEntry(cpu: Cpu, walk: GuestWalk, gpa: number, access: number): number {
    const pfn = this.translateGpa(cpu, walk.root, gpa, access);
    if (pfn >= 0) return this.frames.byteOf(pfn, gpa);
    return pfn === WALK_RACED ? pfn : walkFault(walkFaultFlags(pfn) | WALK_FAULT_GUEST_PAGE);
  }

  /**
   * Sets the flags that a guest entry lacks. The memory it lies in stays the guest's until this vCPU leaves: who takes the page
   * away waits for that. Returns 0, or a negative result: a fault, or the lost race of `setFlags`.
   */
  private useEntry(cpu: Cpu, walk: GuestWalk, entry: GuestEntry, missing: number): number {
    if (missing === 0) return 0;
    let { address } = entry;
    if ((this.entryAccess & PERMISSION_WRITE) === 0) {
      const writable = this.locateEntry(cpu, walk, entry.gpa, PERMISSION_WRITE);
      if (writable < 0) return writable;
      address = writable as Address;
    }
    if (address === NULL_ADDRESS || !setFlags(cpu, address, entry.value, missing)) return WALK_RACED;
    const { accessedMask, dirtyMask } = walk.format;
    if ((missing & accessedMask) !== 0) addStatistic(cpu, this.statistics, STATISTIC_GUEST_ACCESSED_SET);
    if ((missing & dirtyMask) !== 0) addStatistic(cpu, this.statistics, STATISTIC_GUEST_DIRTY_SET);
    return 0;
  }

  /** The final translation, of the guest's page, and what both dimensions together allow. */
  private translatePage(
    cpu: Cpu,
    { root, gva, permission, grants }: GuestWalk,
    level: 1 | 2 | 3,
    frame: number,
    rights: number,
    dirty: boolean,
  ): number {
    const pages = PAGES_PER_LEAF[level];
    const gfn = frame - (frame % pages) + (Math.floor(gva / PAGE_BYTES) % pages);
    // Mode-based execute control asks whether the address is a user-mode one, not who fetches.
    const execute = (rights & RIGHT_USER) === 0 ? PERMISSION_EXECUTE : PERMISSION_USER_EXECUTE;
    const pfn = this.translateGpa(
      cpu,
      root,
      gfn * PAGE_BYTES + (gva % PAGE_BYTES),
      accessOf(permission, execute),
    );
    if (pfn < 0) return pfn;
    const { secondLevel } = this;
    const data = secondLevel.permissions & ~PERMISSION_ANY_EXECUTE;
    const fetches = (secondLevel.permissions & execute) === 0 ? 0 : PERMISSION_ANY_EXECUTE;
    const both = grants[rights]! & (data | fetches);
    this.permissions = dirty ? both : both & ~PERMISSION_ANY_WRITE;
    this.fragment = secondLevel.level < level;
    this.level = this.fragment ? secondLevel.level : level;
    return pfn;
  }

  /** One walk of EPT or NPT. An address that they do not span is a violation. */
  private translateGpa(cpu: Cpu, root: Address, gpa: number, access: number): number {
    const gfn = Math.floor(gpa / PAGE_BYTES);
    const permission = (access & PERMISSION_WRITE) === 0 ? access : PERMISSION_WRITE;
    this.faultGpa = gpa;
    this.faultAccess = access;
    if (gfn >= this.secondLevel.pages) return walkFault(0);
    return this.secondLevel.walk(cpu, root, gfn, permission, SECOND_LEVEL_GRANTS);
  }
}

/** What a guest's access asks of EPT or NPT. */
function accessOf(permission: number, execute: number): number {
  if ((permission & PERMISSION_ANY_EXECUTE) !== 0) return execute;
  return (permission & PERMISSION_ANY_WRITE) === 0 ? PERMISSION_READ : PERMISSION_WRITE;
}
