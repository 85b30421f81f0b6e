import { type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import {
  kvmForEachMemslot,
  kvmMemslotsHaveRmaps,
  RMAP_HEAD_BYTES,
  type Slot,
  slotRmapArray,
  slotRmapHeads,
} from "@kvm-age/memslot";
import { checkRmapHead, type KvmRmapHead, RmapIterator } from "@kvm-age/rmap";
import { KVM_MAX_HUGEPAGE_LEVEL, PG_LEVEL_4K, type PgLevel } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";

const LOCKED = 2n;
const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** Every entry that is in an rmap of a slot, and what is wrong with the lists themselves. */
export class RmapCensus {
  readonly violations: string[] = [];
  /** The lists that each entry is in. */
  readonly headsOf: Map<number, KvmRmapHead[]> = new Map();

  constructor(mmu: ShadowMmu, cpu: Cpu) {
    const { memslots } = mmu;
    if (!kvmMemslotsHaveRmaps(memslots, cpu)) return;
    for (let asId = 0; asId < memslots.nrAddressSpaces; asId++) {
      kvmForEachMemslot(cpu, memslots.kvmMemslots(cpu, asId), (slot) => this.addSlot(cpu, slot));
    }
  }

  private addSlot(cpu: Cpu, slot: Slot): void {
    for (let at: number = PG_LEVEL_4K; at <= KVM_MAX_HUGEPAGE_LEVEL; at++) {
      const level = at as PgLevel;
      const array = slotRmapArray(cpu, slot, level);
      const heads = array === NULL_ADDRESS ? 0 : slotRmapHeads(cpu, slot, level);
      for (let index = 0; index < heads; index++) {
        this.addHead(cpu, offset(array, index * RMAP_HEAD_BYTES) as KvmRmapHead);
      }
    }
  }

  private addHead(cpu: Cpu, head: KvmRmapHead): void {
    const value = cpu.readOnce(head);
    if (value === 0n) return;
    this.violations.push(...checkRmapHead(cpu, head));
    if ((value & LOCKED) !== 0n) {
      this.violations.push(`rmap head ${hex(head)}: locked at rest`);
      return;
    }
    const iterator = new RmapIterator();
    for (let sptep = iterator.getFirst(cpu, value); sptep !== 0; sptep = iterator.getNext(cpu)) {
      const heads = this.headsOf.get(sptep) ?? [];
      heads.push(head);
      this.headsOf.set(sptep, heads);
    }
  }
}
