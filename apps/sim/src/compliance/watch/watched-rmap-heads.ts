import { type Cpu, NULL_ADDRESS, type ThreadMachine } from "@kvm-age/machine";
import {
  attachMemslots,
  kvmForEachMemslot,
  type Memslots,
  RMAP_HEAD_BYTES,
  type Slot,
  slotRmapArray,
  slotRmapHeads,
} from "@kvm-age/memslot";
import { KVM_RMAP_LOCKED, type KvmRmapHead, kvmRmapGet, RmapIterator } from "@kvm-age/rmap";
import { KVM_MAX_HUGEPAGE_LEVEL, PG_LEVEL_4K, type PgLevel } from "@kvm-age/spte";
import type { VmHandle } from "../../vm/vm.js";
import type { LockState } from "./lock-state.js";
import type { WordWrite } from "./spte-write.js";

const isLocked = (value: bigint): boolean => (value & KVM_RMAP_LOCKED) !== 0n;

/** The list heads of a VM's slots, and what may be written to them. Reads through the `Cpu` it is given, which is not watched. */
export class WatchedRmapHeads {
  private readonly memslots: Memslots;

  constructor(machine: ThreadMachine, { memslots }: VmHandle) {
    this.memslots = attachMemslots(machine, memslots);
  }

  /** Whether an address is that of a list head. The caller holds what keeps the slots. */
  isHead(cpu: Cpu, address: number): boolean {
    let found = false;
    for (let asId = 0; asId < this.memslots.nrAddressSpaces; asId++) {
      kvmForEachMemslot(cpu, this.memslots.kvmMemslots(cpu, asId), (slot) => {
        found ||= this.isInSlot(cpu, slot, address);
      });
    }
    return found;
  }

  /** The slots of a list, in order. */
  entries(cpu: Cpu, head: number): number[] {
    const iterator = new RmapIterator();
    const entries: number[] = [];
    let sptep = iterator.getFirst(cpu, kvmRmapGet(cpu, head as KvmRmapHead));
    for (; sptep !== NULL_ADDRESS; sptep = iterator.getNext(cpu)) entries.push(sptep);
    return entries;
  }

  /** Why a write of a head is none that the locking of lists allows to the thread, if it is not. */
  refusal(cpu: Cpu, head: number, write: WordWrite, locks: LockState): string | undefined {
    const { kind, value, expected = 0n } = write;
    if (kind === "cmpxchg") {
      const takesBit = expected !== 0n && !isLocked(expected) && value === (expected | KVM_RMAP_LOCKED);
      return takesBit
        ? undefined
        : `a compare-exchange of ${expected} with ${value}, which does not take the bit`;
    }
    if (kind !== "storeRelease") return `a ${kind} of a list head`;
    const before = cpu.readOnce(head as KvmRmapHead);
    if (isLocked(value)) return "an unlock to a locked value";
    if (before === 0n) return locks.mmuLock === "write" ? undefined : "a first entry without mmu_lock";
    if (locks.rmapHead !== head) return "an unlock of a list that the thread has not locked";
    if (locks.mmuLock === "write" || before === (value | KVM_RMAP_LOCKED)) return undefined;
    return `a reader's unlock to ${value} instead of ${before & ~KVM_RMAP_LOCKED}`;
  }

  private isInSlot(cpu: Cpu, slot: Slot, address: number): boolean {
    for (let at: number = PG_LEVEL_4K; at <= KVM_MAX_HUGEPAGE_LEVEL; at++) {
      const level = at as PgLevel;
      const array = slotRmapArray(cpu, slot, level);
      if (array === NULL_ADDRESS || address < array) continue;
      if (address < array + slotRmapHeads(cpu, slot, level) * RMAP_HEAD_BYTES) return true;
    }
    return false;
  }
}
