import type { Address, Cpu, LockClass, Srcu } from "@kvm-age/machine";
import { SubscriberMissingError } from "../errors.js";
import type { MmuNotifierRange } from "./mmu-notifier-range.js";
import type { MmuNotifierSubscriber } from "./mmu-notifier-subscriber.js";

/** Lock class of the read section around every walk of the chain (`srcu` of the kernel's mmu_notifier.c). */
export const MMU_NOTIFIER_SRCU_CLASS: LockClass = { name: "mmu_notifier srcu", sleeps: true };

/**
 * The MMU notifiers of one address space (kernel `struct mmu_notifier_subscriptions`). The list of subscribers is
 * a constant of each thread; how many there are stands in the arena, so that a thread in which one is missing cannot
 * change mappings behind its back.
 */
export class MmuNotifierChain {
  private readonly subscribers: MmuNotifierSubscriber[] = [];
  private readonly srcu: Srcu;

  /**
   * @param countWord u32: most subscribers that any thread has registered.
   * @param srcuAddress zero-filled `srcuBytes(maxCpus)`.
   */
  constructor(
    private readonly countWord: Address,
    srcuAddress: Address,
  ) {
    this.srcu = { kind: "srcu", address: srcuAddress, lockClass: MMU_NOTIFIER_SRCU_CLASS };
  }

  /** `mmu_notifier_register`: in every thread that operates on the address space, before its first operation. */
  register(cpu: Cpu, subscriber: MmuNotifierSubscriber): void {
    this.subscribers.push(subscriber);
    const count = this.subscribers.length;
    let seen = cpu.readOnce32(this.countWord);
    // The word only grows. A lost exchange means another thread raised it: look again whether that was enough.
    while (seen < count) seen = cpu.cmpxchg32(this.countWord, seen, count, "full");
  }

  /** `mm_has_notifiers`: whether any thread ever registered a subscriber. */
  mmHasNotifiers(cpu: Cpu): boolean {
    return cpu.readOnce32(this.countWord) !== 0;
  }

  /**
   * `mmu_notifier_invalidate_range_start`: calls every subscriber.
   *
   * @throws SubscriberMissingError if another thread has registered more subscribers than this one; so do all below.
   */
  invalidateRangeStart(cpu: Cpu, range: MmuNotifierRange): void {
    if (!this.mayCall(cpu)) return;
    cpu.lockdep.mightSleep();
    const index = cpu.srcuReadLock(this.srcu);
    for (const subscriber of this.subscribers) subscriber.invalidateRangeStart(cpu, range);
    cpu.srcuReadUnlock(this.srcu, index);
  }

  /** `mmu_notifier_invalidate_range_end`: calls every subscriber. */
  invalidateRangeEnd(cpu: Cpu, range: MmuNotifierRange): void {
    if (!this.mayCall(cpu)) return;
    const index = cpu.srcuReadLock(this.srcu);
    for (const subscriber of this.subscribers) subscriber.invalidateRangeEnd(cpu, range);
    cpu.srcuReadUnlock(this.srcu, index);
  }

  /** `mmu_notifier_clear_flush_young`: calls every subscriber; true if any answered true. */
  clearFlushYoung(cpu: Cpu, start: number, end: number): boolean {
    if (!this.mayCall(cpu)) return false;
    const index = cpu.srcuReadLock(this.srcu);
    let young = false;
    for (const subscriber of this.subscribers) {
      if (subscriber.clearFlushYoung(cpu, start, end)) young = true;
    }
    cpu.srcuReadUnlock(this.srcu, index);
    return young;
  }

  /** `mmu_notifier_clear_young`: calls every subscriber; true if any answered true. */
  clearYoung(cpu: Cpu, start: number, end: number): boolean {
    if (!this.mayCall(cpu)) return false;
    const index = cpu.srcuReadLock(this.srcu);
    let young = false;
    for (const subscriber of this.subscribers) {
      if (subscriber.clearYoung(cpu, start, end)) young = true;
    }
    cpu.srcuReadUnlock(this.srcu, index);
    return young;
  }

  /** `mmu_notifier_test_young`: stops at the first subscriber that answers true. */
  testYoung(cpu: Cpu, address: number): boolean {
    if (!this.mayCall(cpu)) return false;
    const index = cpu.srcuReadLock(this.srcu);
    let young = false;
    for (const subscriber of this.subscribers) {
      young = subscriber.testYoung(cpu, address);
      if (young) break;
    }
    cpu.srcuReadUnlock(this.srcu, index);
    return young;
  }

  /** `mmu_notifier_release`: calls every subscriber, before the page tables are freed. */
  release(cpu: Cpu): void {
    if (!this.mayCall(cpu)) return;
    const index = cpu.srcuReadLock(this.srcu);
    for (const subscriber of this.subscribers) subscriber.release(cpu);
    cpu.srcuReadUnlock(this.srcu, index);
  }

  /** False if there is nobody to call. */
  private mayCall(cpu: Cpu): boolean {
    const registered = cpu.readOnce32(this.countWord);
    if (registered > this.subscribers.length) {
      throw new SubscriberMissingError(this.subscribers.length, registered);
    }
    return registered !== 0;
  }
}
