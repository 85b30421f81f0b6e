import type { Hva } from "@kvm-age/memslot";
import type { Gfn, PgLevel } from "@kvm-age/spte";
import type { Gpte } from "./gpte.js";
import type { GuestFault } from "./guest-fault.js";
import type { GuestWalker } from "./guest-walker.js";

/** Index of a walk's per-level arrays: the level itself, 1 … 5; 0 is unused. */
const LEVELS = 6;

/**
 * `struct guest_walker`: one walk of the guest's tables for one access, and what it found. Local to one operation. The arrays are
 * indexed by level and filled for `level` … `maxLevel`; of a walk that ended in a fault only `fault` counts.
 */
export class GuestWalk {
  /** Level of the leaf, 1 … 3. */
  level: PgLevel = 1;
  /** Level of the first table in memory: that of the root, for PAE 2. */
  maxLevel: PgLevel = 1;
  /** Frame of the table of each level. */
  readonly tableGfn: Gfn[] = new Array<Gfn>(LEVELS).fill(0 as Gfn);
  /** Entry of each level, with the A and D bits that the walk set. */
  readonly ptes: Gpte[] = new Array<Gpte>(LEVELS).fill(0n);
  /** Where the entry of each level is in the owner's address space. */
  readonly ptepHva: Hva[] = new Array<Hva>(LEVELS).fill(0 as Hva);
  /** Whether the slot of the table of each level may be written. */
  readonly pteWritable: boolean[] = new Array<boolean>(LEVELS).fill(false);
  /** What the entries above that of each level allow together, in the rule set's access bits. */
  readonly ptAccess: number[] = new Array<number>(LEVELS).fill(0);
  /** What all entries allow together; without WRITE if the leaf is clean and the access is no write. */
  pteAccess = 0;
  /** EPT: bits 2:0 and 10 that all entries read so far have, as in the entries. */
  eptPermissions = 0n;
  /** Every entry has Accessed set. */
  accessed = true;
  /** The page of the address: inside a large page, the 4 KiB frame that is wanted. */
  gfn: Gfn = 0 as Gfn;
  /** Why the guest's tables do not allow the access; null if they do. */
  fault: GuestFault | null = null;
  /**
   * Of L2's own tables under nested paging: translates an L2-physical address in bytes for an access, as L1's tables say (`kvm_translate_gpa`).
   * Null where the tables lie in the memory that the slots describe.
   */
  translateGpa: ((gpa: number, access: number) => number | GuestFault) | null = null;
  /** The aligned group of 8 entries around the leaf at level 1, as `gpteChanged` read it last. */
  readonly prefetchPtes: Gpte[] = [];

  /**
   * @param asId address space the vCPU is in
   * @param addr address of the access in bytes, as the context translates it
   * @param access W, U and F bits of a page-fault error code
   */
  constructor(
    readonly walker: GuestWalker,
    readonly asId: number,
    readonly addr: number,
    readonly access: number,
  ) {}
}
