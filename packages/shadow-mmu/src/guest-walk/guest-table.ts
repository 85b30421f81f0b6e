import type { Cpu } from "@kvm-age/machine";
import {
  gfnToHvaMemslot,
  type Hva,
  KVM_MEM_READONLY,
  KVM_USER_MEM_SLOTS,
  NULL_SLOT,
  type Slot,
  slotFlags,
  slotId,
  slotIsInvalid,
} from "@kvm-age/memslot";
import { type Gfn, type PgLevel, spteIndex } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { Gpte } from "./gpte.js";
import type { GuestWalk } from "./guest-walk.js";

const PAGE_BYTES = 4096;
const GPTE_BYTES = 8;

/** Number of the address's entry in the guest table of `level`, 0 … 511. */
export function gpteIndex(walk: GuestWalk, level: PgLevel): number {
  return spteIndex(Math.floor(walk.addr / PAGE_BYTES) as Gfn, level);
}

/** Guest-physical address of the walk's entry of `level`, whose table is known. */
export function gpteGpa(walk: GuestWalk, level: PgLevel): number {
  return walk.tableGfn[level]! * PAGE_BYTES + gpteIndex(walk, level) * GPTE_BYTES;
}

/** `kvm_is_visible_memslot`: a user slot that is not going away. */
function isVisibleMemslot(cpu: Cpu, slot: Slot): boolean {
  return slot !== NULL_SLOT && slotId(cpu, slot) < KVM_USER_MEM_SLOTS && !slotIsInvalid(cpu, slot);
}

/**
 * Reads the walk's entry of `level` from the table at `tableGfn` and remembers where it is. Null if the table is in no slot that
 * the guest may see, or the host cannot read it. Sleeps. Held: SRCU.
 *
 * @param realGfn where the table is in the memory of the slots: `tableGfn`, unless that is L2's
 */
export function readGuestTable(
  mmu: ShadowMmu,
  cpu: Cpu,
  walk: GuestWalk,
  level: PgLevel,
  tableGfn: Gfn,
  realGfn: Gfn,
): Gpte | null {
  walk.tableGfn[level] = tableGfn;
  const slot = mmu.memslots.gfnToMemslot(cpu, walk.asId, realGfn);
  if (!isVisibleMemslot(cpu, slot)) return null;
  const hva = (gfnToHvaMemslot(cpu, slot, realGfn) + gpteIndex(walk, level) * GPTE_BYTES) as Hva;
  walk.ptepHva[level] = hva;
  walk.pteWritable[level] = (slotFlags(cpu, slot) & KVM_MEM_READONLY) === 0;
  return mmu.host.loadUser(cpu, hva, GPTE_BYTES, false);
}
