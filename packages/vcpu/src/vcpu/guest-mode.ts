import {
  type Address,
  type Cpu,
  EXITING_GUEST_MODE,
  IN_GUEST_MODE,
  memberModeWord,
  memberRequestsWord,
  NULL_ADDRESS,
  OUTSIDE_GUEST_MODE,
  REQUEST_TLB_FLUSH,
} from "@kvm-age/machine";
import { RootNotLoadedError } from "../errors.js";
import {
  addStatistic,
  STATISTIC_FLUSHES_SERVED,
  STATISTIC_INTERRUPTS,
} from "../statistics/statistic-words.js";
import type { Tlb } from "../tlb/tlb.js";
import type { VcpuHandle } from "./vcpu-handle.js";
import type { VcpuMmu } from "./vcpu-mmu.js";
import { statisticsOf } from "./vcpu-state.js";

/** The member's side of the flush protocol: the way into the guest and out of it. */
export class GuestMode {
  private readonly modeWord: Address;
  private readonly requestsWord: Address;
  private readonly statistics: Address;
  private readonly member: number;

  constructor(
    handle: VcpuHandle,
    private readonly mmu: VcpuMmu,
    private readonly tlb: Tlb,
  ) {
    this.modeWord = memberModeWord(handle.flushDomain, handle.member);
    this.requestsWord = memberRequestsWord(handle.flushDomain, handle.member);
    this.statistics = statisticsOf(handle.state);
    this.member = handle.member;
  }

  /**
   * Polls for an interrupt: false once a flusher moved the mode on, and while outside. Acquire, so that nothing the
   * guest does next is done before it.
   */
  isInside(cpu: Cpu): boolean {
    return cpu.loadAcquire32(this.modeWord) === IN_GUEST_MODE;
  }

  /**
   * `vcpu_enter_guest` up to the guest: serves requests, loads a root if there is none, and enters.
   *
   * The mode is stored, then a full barrier, then requests are read; a flusher stores its request, then a full barrier,
   * then reads the mode. One of the two sees the other, so no translation outlives a flush that has returned. A request
   * that came in between sends the vCPU out again; leaving is the acknowledgement the flusher may be waiting for.
   *
   * @throws RootNotLoadedError if there is no root after `mmu.load`.
   */
  enter(cpu: Cpu): void {
    for (;;) {
      this.serveRequests(cpu);
      this.loadRoot(cpu);
      cpu.writeOnce32(this.modeWord, IN_GUEST_MODE);
      cpu.smpMb();
      if (cpu.readOnce32(this.requestsWord) === 0) return;
      this.exit(cpu);
    }
  }

  /**
   * Leaves the guest. Release: a flusher that sees the vCPU outside also sees everything it did inside, the flags of its
   * walks included. The store may overwrite `EXITING_GUEST_MODE`, which is how an interrupt is acknowledged.
   */
  exit(cpu: Cpu): void {
    cpu.storeRelease32(this.modeWord, OUTSIDE_GUEST_MODE);
  }

  /** Leaves the guest if a flusher interrupted it, and enters (again). */
  reenter(cpu: Cpu): void {
    if (cpu.readOnce32(this.modeWord) === EXITING_GUEST_MODE) {
      addStatistic(cpu, this.statistics, STATISTIC_INTERRUPTS);
      this.exit(cpu);
    }
    this.enter(cpu);
  }

  /** The MMU's requests come first, the flush last, so that it also covers what they did (`vcpu_enter_guest`). */
  private serveRequests(cpu: Cpu): void {
    if (cpu.readOnce32(this.requestsWord) === 0) return;
    // Takes all of them in one exchange: a request raised after it stays for the check behind the barrier. Full order:
    // what the requester wrote before raising it is visible to the handler.
    const requests = cpu.xchg32(this.requestsWord, 0, "full");
    const forMmu = (requests & ~REQUEST_TLB_FLUSH) >>> 0;
    if (forMmu !== 0) this.mmu.handleRequests(cpu, forMmu);
    if ((requests & REQUEST_TLB_FLUSH) === 0) return;
    this.tlb.contexts.dropAll(cpu);
    addStatistic(cpu, this.statistics, STATISTIC_FLUSHES_SERVED);
  }

  /** Translations of an earlier root must not survive into the new one. */
  private loadRoot(cpu: Cpu): void {
    if (this.mmu.rootHpa(cpu) !== NULL_ADDRESS) return;
    this.mmu.load(cpu);
    if (this.mmu.rootHpa(cpu) === NULL_ADDRESS) throw new RootNotLoadedError(this.member);
    this.tlb.contexts.dropAll(cpu);
  }
}
