import {
  type Cpu,
  noLayer,
  StatisticsRecorder,
  type ThreadCpu,
  ThreadMachine,
  withAddressSanitizer,
  withLockdep,
  withRwlockTiming,
} from "@kvm-age/machine";
import { ACCESS_FAILED, type Vcpu } from "@kvm-age/vcpu";
import { kvmLockGraph } from "../compliance/kvm-lock-order.js";
import { withComplianceWatch } from "../compliance/watch/with-compliance-watch.js";
import { recordingLayers, ThreadRecorder } from "../tracing/thread-recorder.js";
import { Latencies } from "../vm/latencies.js";
import { Vm } from "../vm/vm.js";
import type { VmVcpu } from "../vm/vm-vcpu.js";
import { Control } from "./control.js";
import { PageFaults } from "./page-faults.js";
import type { ActorInit, ActorTotals } from "./protocol.js";

/** Thrown when a guest access ends in something that a guest with RAM alone cannot meet. */
export class GuestAccessFailedError extends Error {
  override readonly name = "GuestAccessFailedError";

  constructor(
    readonly page: number,
    readonly result: number,
  ) {
    super(`access to test page ${page} ended with result ${result} instead of a host page`);
  }
}

/** One thread of a run: its processor with its layers, its view of the VM, and what it measures. */
export class Actor {
  readonly cpu: Cpu;
  readonly vm: Vm;
  /** The vCPU that this thread runs; null for other roles. */
  readonly guest: VmVcpu | null;
  /** Its hardware. */
  readonly vcpu: Vcpu | null;
  readonly control: Control;
  private readonly thread: ThreadCpu;
  private readonly latencies = new Latencies();
  private readonly recorder: StatisticsRecorder;
  private readonly events: ThreadRecorder | null;
  private readonly pageFaults: PageFaults;

  constructor(readonly init: ActorInit) {
    const machine = ThreadMachine.from(init.vm.machine);
    this.thread = machine.attach();
    this.recorder = new StatisticsRecorder({ role: init.role });
    const sanitizer = init.sanitizer ? withAddressSanitizer(machine.frames) : noLayer;
    const lockdep = init.lockdep ? withLockdep(kvmLockGraph()) : noLayer;
    const watch = withComplianceWatch(machine, init.vm);
    this.events = init.events === null ? null : new ThreadRecorder(init.events);
    const { innermost, outermost } = recordingLayers(this.events);
    const checked = watch(lockdep(sanitizer(innermost(this.thread))));
    this.cpu = outermost(withRwlockTiming(this.recorder)(checked));
    this.vm = new Vm(machine, this.cpu, init.vm, this.latencies);
    this.control = new Control(init.vm.machine.memory, init.vm.control);
    this.pageFaults = new PageFaults(this.vm);
    this.guest = init.role === "vcpu" ? this.vm.vcpu(init.index, this.pageFaults) : null;
    this.vcpu = this.guest?.hardware ?? null;
  }

  /** Accesses one test page as the guest does. */
  access(page: number, write: boolean): void {
    const result = this.vcpu!.access(this.cpu, this.vm.gpaOf(page), write ? "write" : "read");
    if (result < 0) throw new GuestAccessFailedError(page, result);
  }

  /** Stores to one test page as the guest does; false if KVM left the guest with EFAULT instead. */
  store(page: number): boolean {
    const result = this.vcpu!.access(this.cpu, this.vm.gpaOf(page), "write");
    if (result === ACCESS_FAILED && this.vcpu!.lastFault(this.cpu)?.errno === "EFAULT") return false;
    if (result < 0) throw new GuestAccessFailedError(page, result);
    return true;
  }

  /** Ends the actor: leaves the guest, gives the processor number back, and reports. */
  finish(): ActorTotals {
    this.vcpu?.exitGuest(this.cpu);
    const vcpu = this.vcpu?.statistics(this.cpu) ?? null;
    this.thread.detach();
    this.events?.close();
    return {
      role: this.init.role,
      locks: this.recorder.snapshot(),
      latencies: this.latencies.toData(),
      vcpu,
      faults: this.pageFaults.faults,
      refaults: this.pageFaults.refaults,
    };
  }
}
