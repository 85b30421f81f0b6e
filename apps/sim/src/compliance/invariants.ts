import type { Enforcer, Invariant, InvariantId } from "./invariant.js";

function invariant(id: InvariantId, sentence: string, ...enforcers: readonly Enforcer[]): Invariant {
  return { id, sentence, enforcers };
}

/** Everything that the reference says a checker must enforce, with who does. */
export const INVARIANTS: readonly Invariant[] = [
  invariant(
    "rmap-1",
    "a list head is 0, a slot, or a chain, and locked only if it is not 0",
    "rest",
    "watch",
  ),
  invariant("rmap-2", "while a list is locked nobody else changes its head or its chain", "watch"),
  invariant("rmap-3", "without mmu_lock for write only the lock bit of a head changes", "watch"),
  invariant(
    "rmap-4",
    "chains are full behind their first descriptor, counted, and without duplicates",
    "rest",
  ),
  invariant(
    "rmap-5",
    "a slot is a present leaf exactly if the list of its gfn and level has it once",
    "rest",
  ),
  invariant("rmap-6", "parent_ptes and the entries that point to a page are each other's inverse", "rest"),
  invariant("rmap-7", "no descriptor or table is freed while a locked list reaches it", "sanitizer", "watch"),
  invariant("rmap-8", "a list's bit is held across no sleep, no yield and no mmu_lock, and alone", "lockdep"),
  invariant("rmap-9", "aging changes only Accessed, or hides permissions of the very value it read", "watch"),
  invariant("rmap-10", "the statistics count the present leaves of each level", "rest"),
  invariant("shadow-1", "every page is in its bucket, and one valid page at most has a gfn and role", "rest"),
  invariant("shadow-2", "indirect_shadow_pages and gfn_write_track count the valid indirect pages", "rest"),
  invariant("shadow-3", "a synced guest table is writable through no entry of either MMU and no TLB", "rest"),
  invariant("shadow-4", "only indirect pages of level 1 are unsync, and every ancestor is marked", "rest"),
  invariant("shadow-5", "pages without parents are roots or unreachable", "rest"),
  invariant("shadow-6", "a child's role fits its parent's", "rest"),
  invariant("shadow-7", "a leaf gives no access that was not recorded for it", "rest"),
  invariant("shadow-8", "no leaf maps a host page that an invalidation has taken away", "rest", "oracle"),
  invariant(
    "shadow-9",
    "freed tables are reached by no walker, no hardware and no list",
    "sanitizer",
    "rest",
  ),
  invariant("shadow-10", "no root in use is freed, and no invalid page is linked", "rest"),
  invariant("shadow-11", "valid pages are of two generations at most, the older ones last", "rest"),
  invariant(
    "shadow-12",
    "a fast page fault only gives back what an entry may have, and logs it",
    "watch",
    "oracle",
  ),
  invariant(
    "shadow-13",
    "what a mutator owes in flushes is paid before mmu_lock is released",
    "rest",
    "oracle",
  ),
  invariant("shadow-14", "before a gfn becomes writable its pages of level 1 are unsync", "rest"),
  invariant(
    "shadow-15",
    "after a guest's TLB flush nothing is allowed that a fresh walk refuses",
    "rest",
    "oracle",
  ),
  invariant("locking-1", "locks are taken in an order without cycles", "lockdep"),
  invariant("locking-2", "shadow pages, lists and links change under mmu_lock held for write only", "watch"),
  invariant(
    "locking-3",
    "without mmu_lock SPTEs change by fast faults, aging and hardware's A and D only",
    "watch",
  ),
  invariant("locking-4", "invalidations are balanced: none is in progress at rest", "rest"),
  invariant(
    "locking-5",
    "nothing is installed that an overlapping invalidation could miss",
    "rest",
    "oracle",
  ),
  invariant("locking-6", "after an invalidation neither an SPTE nor a TLB maps the range", "rest", "oracle"),
  invariant(
    "locking-7",
    "every write to a logged gfn is in a log before user space reads the next",
    "oracle",
  ),
  invariant("locking-8", "no guest writes to a synced table without an exit", "rest", "oracle"),
  invariant("locking-9", "lockless aging never waits for mmu_lock", "watch"),
  invariant(
    "locking-10",
    "a list's bit is held for a bounded number of steps, never across a yield",
    "lockdep",
  ),
  invariant("locking-11", "aging changes nothing but age", "watch", "oracle"),
  invariant("locking-12", "once a shadow root was allocated every slot has its lists", "rest"),
];

const BY_ID: ReadonlyMap<string, Invariant> = new Map(INVARIANTS.map((entry) => [entry.id, entry]));

/** What an invariant says. */
export function sentenceOf(id: InvariantId): string {
  return BY_ID.get(id)!.sentence;
}
