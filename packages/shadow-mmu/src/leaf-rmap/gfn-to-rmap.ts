import type { Cpu } from "@kvm-age/machine";
import { type Slot, slotRmapHead } from "@kvm-age/memslot";
import type { KvmRmapHead } from "@kvm-age/rmap";
import type { Gfn, PgLevel } from "@kvm-age/spte";

/**
 * `gfn_to_rmap`: the list of the leaves that map `gfn` at `level`, 1 … 3, in the slot. A huge page's list is that of every gfn in it,
 * even if the slot covers only a part.
 *
 * @throws MissingMetadataError if the slot has no rmaps.
 */
export function gfnToRmap(cpu: Cpu, slot: Slot, gfn: Gfn, level: PgLevel): KvmRmapHead {
  return slotRmapHead(cpu, slot, gfn, level) as KvmRmapHead;
}
