import { attachHostMm, type HostMm, type HostMmHandle } from "@kvm-age/host-mm";
import type { Address, Cpu, FlushDomain, MachineHandle, ThreadMachine } from "@kvm-age/machine";
import {
  attachMemslots,
  type Hva,
  KvmMmuNotifier,
  LOCKED_AGING,
  LOCKLESS_AGING,
  type Memslots,
  type MemslotsHandle,
} from "@kvm-age/memslot";
import type { Gfn } from "@kvm-age/spte";
import { attachTdpMmu, type TdpMmu, type TdpMmuHandle, TdpMmuVcpu } from "@kvm-age/tdp-mmu";
import {
  attachGuestAccessEpochs,
  attachVcpu,
  type GuestAccessEpochs,
  noAccessRecorder,
  type RecorderHandle,
  type Vcpu,
  type VcpuHandle,
} from "@kvm-age/vcpu";
import { Kvm } from "../kvm.js";
import type { Latencies } from "./latencies.js";
import { TimedNotifier } from "./timed-notifier.js";
import { type FaultObserver, noFaultObserver, VcpuMmuAdapter } from "./vcpu-mmu-adapter.js";
import type { VmConfig } from "./vm-config.js";

/** One vCPU of a VM as plain data: the hardware's part and the MMU's. */
export interface VmVcpuHandle {
  readonly hardware: VcpuHandle;
  readonly mmu: Address;
}

/** A VM and its host as plain data, to be sent to other threads. */
export interface VmHandle {
  readonly machine: MachineHandle;
  readonly config: VmConfig;
  readonly hostMm: HostMmHandle;
  readonly memslots: MemslotsHandle;
  readonly tdp: TdpMmuHandle;
  readonly flushDomain: FlushDomain;
  readonly vcpus: readonly VmVcpuHandle[];
  readonly accessEpochs: RecorderHandle | null;
  /** First gfn of the test memory, and where it lies in the owner's address space. */
  readonly baseGfn: Gfn;
  readonly baseHva: Hva;
  /** Control block of a run (`Control`). */
  readonly control: Address;
}

/** One thread's view of a VM: every component attached and wired. */
export class Vm {
  readonly config: VmConfig;
  readonly hostMm: HostMm;
  readonly memslots: Memslots;
  readonly tdp: TdpMmu;
  readonly kvm: Kvm;
  readonly accessEpochs: GuestAccessEpochs | null;

  /**
   * @param cpu of this thread; registers this thread's notifier with the host
   * @param latencies where this thread's fault and invalidation times go
   */
  constructor(
    private readonly machine: ThreadMachine,
    cpu: Cpu,
    readonly handle: VmHandle,
    private readonly latencies: Latencies,
  ) {
    this.config = handle.config;
    this.hostMm = attachHostMm(machine, handle.hostMm);
    this.memslots = attachMemslots(machine, handle.memslots);
    const { flushDomain } = handle;
    this.tdp = attachTdpMmu(machine, handle.tdp, { memslots: this.memslots, flushDomain });
    this.kvm = new Kvm(this.memslots, this.tdp, this.hostMm);
    const policy = this.config.policy === "lockless" ? LOCKLESS_AGING : LOCKED_AGING;
    const notifier = new KvmMmuNotifier(this.memslots, this.kvm, policy);
    this.hostMm.notifiers.register(cpu, new TimedNotifier(notifier, latencies));
    this.accessEpochs =
      handle.accessEpochs === null ? null : attachGuestAccessEpochs(machine, handle.accessEpochs);
  }

  /** vCPU number `index`, for the one thread that runs it. */
  vcpu(index: number, faults: FaultObserver = noFaultObserver): Vcpu {
    const { hardware } = this.handle.vcpus[index]!;
    const adapter = new VcpuMmuAdapter(this.kvm, this.vcpuMmu(index), this.latencies, faults);
    return attachVcpu(this.machine, hardware, {
      mmu: adapter,
      accessRecorder: this.accessEpochs ?? noAccessRecorder,
    });
  }

  /** The MMU's side of a vCPU, for its teardown. */
  vcpuMmu(index: number): TdpMmuVcpu {
    return new TdpMmuVcpu(this.tdp, index, this.handle.vcpus[index]!.mmu);
  }

  /** Guest-physical address of test page `page`. */
  gpaOf(page: number): number {
    return (this.handle.baseGfn + page) * 4096;
  }

  /** Host virtual address of test page `page`. */
  hvaOf(page: number): Hva {
    return (this.handle.baseHva + page * 4096) as Hva;
  }

  /** Test page at a host virtual address of the test memory. */
  pageOfHva(hva: number): number {
    return (hva - this.handle.baseHva) / 4096;
  }
}
