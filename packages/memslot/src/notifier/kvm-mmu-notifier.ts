import { type Address, type Cpu, offset } from "@kvm-age/machine";
import type { Hva } from "../address/hva.js";
import { UnbalancedInvalidationError } from "../errors.js";
import {
  kvmMmuInvalidateEnd,
  kvmMmuInvalidateRangeAdd,
  kvmMmuInvalidateStart,
} from "../invalidate/kvm-mmu-invalidate.js";
import { MN_ACTIVE_INVALIDATE_CLASS } from "../memslots/kvm-locks.js";
import type { Memslots } from "../memslots/memslots.js";
import { MEMSLOTS_MN_ACTIVE_INVALIDATE_COUNT } from "../memslots/memslots-layout.js";
import { type AgingPolicy, LOCKLESS_AGING } from "./aging-policy.js";
import type { KvmGfnRange } from "./kvm-gfn-range.js";
import { kvmHandleHvaRange } from "./kvm-handle-hva-range.js";
import type { SecondaryMmu } from "./secondary-mmu.js";

/** What the primary MMU is about to change (kernel `struct mmu_notifier_range`). */
export interface MmuNotifierRange {
  readonly start: Hva;
  /** First hva behind the range. */
  readonly end: Hva;
  /** Whether the callback may sleep; false for the OOM reaper. */
  readonly blockable: boolean;
}

type GfnHandler = (cpu: Cpu, range: KvmGfnRange) => boolean;

/**
 * The VM's subscription to changes of its owner's page tables (kernel `kvm_mmu_notifier_ops`). The primary
 * MMU calls it in the context of the thread that makes the change; the three aging calls may come under a
 * host page-table lock, invalidations never do.
 */
export class KvmMmuNotifier {
  private readonly age: GfnHandler;
  private readonly testAge: GfnHandler;
  private readonly unmap: GfnHandler;
  private readonly start: (cpu: Cpu) => void;
  private readonly end: (cpu: Cpu) => void;

  constructor(
    private readonly memslots: Memslots,
    private readonly mmu: SecondaryMmu,
    private readonly policy: AgingPolicy = LOCKLESS_AGING,
  ) {
    this.age = (cpu, range): boolean => mmu.ageGfn(cpu, range);
    this.testAge = (cpu, range): boolean => mmu.testAgeGfn(cpu, range);
    this.unmap = (cpu, range): boolean => {
      kvmMmuInvalidateRangeAdd(memslots, cpu, range.start, range.end);
      return mmu.unmapGfnRange(cpu, range);
    };
    this.start = (cpu): void => kvmMmuInvalidateStart(memslots, cpu);
    this.end = (cpu): void => kvmMmuInvalidateEnd(memslots, cpu);
  }

  /**
   * Before the primary MMU changes [start, end): removes KVM's mappings and flushes, and keeps faults from
   * making new ones until `invalidateRangeEnd` (kernel `kvm_mmu_notifier_invalidate_range_start`).
   *
   * The active count goes up before slots are looked up, so that no set is swapped until the matching end:
   * both see the same slots, and `in_progress` stays balanced.
   */
  invalidateRangeStart(cpu: Cpu, range: MmuNotifierRange): void {
    const { start, end, blockable } = range;
    if (cpu.tracing) cpu.trace({ name: "kvm_unmap_hva_range", fields: { start, end } });
    cpu.lockdep.acquired(MN_ACTIVE_INVALIDATE_CLASS, this.activeCount);
    this.addToActiveCount(cpu, 1);
    kvmHandleHvaRange(this.memslots, cpu, this.mmu, {
      start,
      end,
      handler: this.unmap,
      onLock: this.start,
      flushOnRet: true,
      mayBlock: blockable,
      lockless: false,
    });
    cpu.lockdep.released(MN_ACTIVE_INVALIDATE_CLASS, this.activeCount);
  }

  /**
   * After the change (kernel `kvm_mmu_notifier_invalidate_range_end`). The last one lets a waiting set swap
   * go on.
   *
   * @throws UnbalancedInvalidationError without a matching start.
   */
  invalidateRangeEnd(cpu: Cpu, range: MmuNotifierRange): void {
    cpu.lockdep.acquired(MN_ACTIVE_INVALIDATE_CLASS, this.activeCount);
    kvmHandleHvaRange(this.memslots, cpu, this.mmu, {
      start: range.start,
      end: range.end,
      handler: null,
      onLock: this.end,
      flushOnRet: false,
      mayBlock: range.blockable,
      lockless: false,
    });
    this.addToActiveCount(cpu, -1);
    cpu.lockdep.released(MN_ACTIVE_INVALIDATE_CLASS, this.activeCount);
  }

  /**
   * Clears Accessed for a page about to be reclaimed; whether it was set
   * (`kvm_mmu_notifier_clear_flush_young`).
   */
  clearFlushYoung(cpu: Cpu, start: Hva, end: Hva): boolean {
    if (cpu.tracing) cpu.trace({ name: "kvm_age_hva", fields: { start, end } });
    return this.ageHvaRange(cpu, start, end, this.age, this.policy.flushIfYoung);
  }

  /** Clears Accessed on an aging pass; whether it was set. Never flushes (`kvm_mmu_notifier_clear_young`). */
  clearYoung(cpu: Cpu, start: Hva, end: Hva): boolean {
    if (cpu.tracing) cpu.trace({ name: "kvm_age_hva", fields: { start, end } });
    return this.ageHvaRange(cpu, start, end, this.age, false);
  }

  /** Whether the page at `address` was accessed; changes nothing (`kvm_mmu_notifier_test_young`). */
  testYoung(cpu: Cpu, address: Hva): boolean {
    if (cpu.tracing) cpu.trace({ name: "kvm_test_age_hva", fields: { hva: address } });
    return this.ageHvaRange(cpu, address, (address + 1) as Hva, this.testAge, false);
  }

  /** The owner's address space goes away: removes every mapping (`kvm_mmu_notifier_release`). */
  release(cpu: Cpu): void {
    const { srcu } = this.memslots.locks;
    const index = cpu.srcuReadLock(srcu);
    this.mmu.flushShadowAll(cpu);
    cpu.srcuReadUnlock(srcu, index);
  }

  /** `kvm_age_hva_range`. */
  private ageHvaRange(cpu: Cpu, start: Hva, end: Hva, handler: GfnHandler, flush: boolean): boolean {
    return kvmHandleHvaRange(this.memslots, cpu, this.mmu, {
      start,
      end,
      handler,
      onLock: null,
      flushOnRet: flush,
      mayBlock: false,
      lockless: this.policy.lockless,
    }).ret;
  }

  private get activeCount(): Address {
    return offset(this.memslots.address, MEMSLOTS_MN_ACTIVE_INVALIDATE_COUNT);
  }

  private addToActiveCount(cpu: Cpu, addend: 1 | -1): void {
    const { mnInvalidateLock } = this.memslots.locks;
    const word = this.activeCount;
    cpu.spinLock(mnInvalidateLock);
    const count = cpu.readOnce32(word);
    // Release: a swap that waits for this word outside the lock sees the invalidation's effects with it.
    if (count + addend >= 0) cpu.storeRelease32(word, count + addend);
    cpu.spinUnlock(mnInvalidateLock);
    if (count + addend < 0) throw new UnbalancedInvalidationError("mn_active_invalidate_count", count);
  }
}
