import type { Cpu } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import { MemslotError } from "../errors.js";
import { kvmMemslotIterNext, kvmMemslotIterStart } from "../lookup/gfn-range-iterator.js";
import type { Memslots } from "../memslots/memslots.js";
import { idToMemslot } from "../set/id-hash.js";
import type { SlotSet } from "../set/slot-set.js";
import { NULL_SLOT, readSlotFields, type Slot, type SlotFields, slotId } from "../slot/slot.js";
import { KVM_MEM_READONLY } from "../slot/slot-flags.js";
import type { KvmMrChange } from "./memory-region.js";

/**
 * A request that passed all checks: what to do, to which slot (`NULL_SLOT` for a create), and what the new
 * one is.
 */
export interface MemslotChange {
  readonly kind: KvmMrChange;
  readonly old: Slot;
  readonly fields: SlotFields;
}

const U64_LIMIT = 2n ** 64n;
const hex = (value: number): string => `0x${value.toString(16)}`;

/** Whether another slot of the set overlaps (kernel `kvm_check_memslot_overlap`). */
function refuseOverlap(cpu: Cpu, set: SlotSet, fields: SlotFields): void {
  const end = (fields.baseGfn + fields.npages) as Gfn;
  let slot = kvmMemslotIterStart(cpu, set, fields.baseGfn, end);
  for (; slot !== NULL_SLOT; slot = kvmMemslotIterNext(cpu, set, slot, end)) {
    if (slotId(cpu, slot) === fields.id) continue;
    throw new MemslotError(
      "EEXIST",
      `gfns [${hex(fields.baseGfn)}, ${hex(end)}) overlap slot ${slotId(cpu, slot)}, allowed: no overlap in address space ${fields.asId}`,
    );
  }
}

function planDelete(memslots: Memslots, cpu: Cpu, old: Slot, fields: SlotFields): MemslotChange {
  if (old === NULL_SLOT) {
    throw new MemslotError("EINVAL", `memory_size is 0 and slot ${fields.id} does not exist`);
  }
  const { npages } = readSlotFields(cpu, old);
  const total = memslots.nrMemslotPages(cpu);
  if (total < BigInt(npages)) {
    throw new MemslotError("EIO", `nr_memslot_pages is ${total}, must be at least the slot's ${npages}`);
  }
  return { kind: "delete", old, fields };
}

function planExisting(cpu: Cpu, old: Slot, fields: SlotFields): KvmMrChange | null {
  const current = readSlotFields(cpu, old);
  const fixed = [
    ["userspace_addr", fields.userspaceAddr, current.userspaceAddr],
    ["number of pages", fields.npages, current.npages],
    ["KVM_MEM_READONLY", fields.flags & KVM_MEM_READONLY, current.flags & KVM_MEM_READONLY],
  ] as const;
  for (const [what, value, allowed] of fixed) {
    if (value !== allowed) {
      throw new MemslotError(
        "EINVAL",
        `${what} is ${hex(value)}, allowed for existing slot ${fields.id}: ${hex(allowed)}`,
      );
    }
  }
  if (fields.baseGfn !== current.baseGfn) return "move";
  return fields.flags === current.flags ? null : "flags-only";
}

/**
 * Checks a request against the slots there are and decides what it is (checks 8 to 13 of
 * `__kvm_set_memory_region`); null if there is nothing to do. Held: `slots_lock`.
 *
 * @throws MemslotError EINVAL, EIO or EEXIST
 */
export function planMemslotChange(memslots: Memslots, cpu: Cpu, fields: SlotFields): MemslotChange | null {
  const set = memslots.kvmMemslots(cpu, fields.asId);
  const old = idToMemslot(cpu, set, fields.id);
  if (fields.npages === 0) return planDelete(memslots, cpu, old, fields);
  if (old === NULL_SLOT && memslots.nrMemslotPages(cpu) + BigInt(fields.npages) >= U64_LIMIT) {
    throw new MemslotError("EINVAL", `number of pages of all slots would exceed ${U64_LIMIT - 1n}`);
  }
  const kind = old === NULL_SLOT ? "create" : planExisting(cpu, old, fields);
  if (kind === null) return null;
  if (kind !== "flags-only") refuseOverlap(cpu, set, fields);
  return { kind, old, fields };
}
