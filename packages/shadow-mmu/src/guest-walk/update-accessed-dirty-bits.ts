import type { Cpu } from "@kvm-age/machine";
import { markPageDirtyInSlot } from "@kvm-age/memslot";
import { PFERR_WRITE_MASK, type PgLevel } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import { traceKvmMmuSetAccessedBit, traceKvmMmuSetDirtyBit } from "../trace/trace-guest-walk.js";
import type { UserCmpxchgResult } from "../user-memory.js";
import type { Gpte } from "./gpte.js";
import { gpteGpa } from "./guest-table.js";
import type { GuestWalk } from "./guest-walk.js";

function has(gpte: Gpte, mask: bigint): boolean {
  return BigInt.asUintN(64, gpte & mask) !== 0n;
}

/** The entry of `level` with the bits that hardware would set: A everywhere, D in the leaf of a write. */
function withAccessedDirty(cpu: Cpu, walk: GuestWalk, level: PgLevel): Gpte {
  const { accessedMask, dirtyMask } = walk.walker;
  let gpte = walk.ptes[level]!;
  if (!has(gpte, accessedMask)) {
    if (cpu.tracing) traceKvmMmuSetAccessedBit(cpu, gpteGpa(walk, level));
    gpte |= accessedMask;
  }
  const dirties = level === walk.level && (walk.access & PFERR_WRITE_MASK) !== 0;
  if (dirties && !has(gpte, dirtyMask)) {
    if (cpu.tracing) traceKvmMmuSetDirtyBit(cpu, gpteGpa(walk, level));
    gpte |= dirtyMask;
  }
  return BigInt.asUintN(64, gpte);
}

/** One level. The frame is marked dirty after the guest's memory changed, so that a harvest in between finds it the next time. */
function updateLevel(mmu: ShadowMmu, cpu: Cpu, walk: GuestWalk, level: PgLevel): UserCmpxchgResult {
  const found = walk.ptes[level]!;
  const gpte = withAccessedDirty(cpu, walk, level);
  if (gpte === found || !walk.pteWritable[level]) return "done";
  const result = mmu.host.cmpxchgUser(cpu, walk.ptepHva[level]!, 8, found, gpte);
  if (result !== "done") return result;
  const gfn = walk.tableGfn[level]!;
  markPageDirtyInSlot(cpu, mmu.memslots.gfnToMemslot(cpu, walk.asId, gfn), gfn);
  walk.ptes[level] = gpte;
  return "done";
}

/**
 * `update_accessed_dirty_bits`: sets A in every entry of the walk and, for a write, D in the leaf, from the top down, each by one
 * compare-exchange with the guest's own processors and software. Entries in read-only slots stay as they are: a guest that puts its
 * tables into ROM sets the bits beforehand. Sleeps. Held: SRCU.
 *
 * @returns `changed` if an entry is no longer what the walk read: what was decided on it is void, walk again. What was set on the way
 * stays set, as hardware's would. `fault` if the host cannot write the entry.
 */
export function updateAccessedDirtyBits(mmu: ShadowMmu, cpu: Cpu, walk: GuestWalk): UserCmpxchgResult {
  for (let level = walk.maxLevel; level >= walk.level; level--) {
    const result = updateLevel(mmu, cpu, walk, level as PgLevel);
    if (result !== "done") return result;
  }
  return "done";
}
