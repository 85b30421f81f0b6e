import { attachHostMm, type HostMm, type HostMmHandle } from "@kvm-age/host-mm";
import type { Address, Cpu, FlushDomain, MachineHandle, ThreadMachine } from "@kvm-age/machine";
import {
  attachMemslots,
  type Hva,
  KvmMmuNotifier,
  type Memslots,
  type MemslotsHandle,
} from "@kvm-age/memslot";
import type { ShadowMmu } from "@kvm-age/shadow-mmu";
import type { Gfn } from "@kvm-age/spte";
import type { TdpMmu } from "@kvm-age/tdp-mmu";
import { attachGuestAccessEpochs, type GuestAccessEpochs, type RecorderHandle } from "@kvm-age/vcpu";
import { KVM_AGING_POLICIES } from "../aging/aging-policies.js";
import type { GuestTableArea } from "../guest/guest-tables.js";
import { Kvm } from "../kvm.js";
import type { Latencies } from "./latencies.js";
import { pagesPerTestSlot } from "./test-slots.js";
import { TimedNotifier } from "./timed-notifier.js";
import { type FaultObserver, noFaultObserver } from "./vcpu-mmu-adapter.js";
import { formatOf, type VmConfig } from "./vm-config.js";
import { attachVmMmus, type VmMmuHandles } from "./vm-mmus.js";
import { DEFAULT_TUNING } from "./vm-tuning.js";
import { VmVcpu, type VmVcpuHandle } from "./vm-vcpu.js";

/** A VM and its host as plain data, to be sent to other threads. */
export interface VmHandle extends VmMmuHandles {
  readonly machine: MachineHandle;
  readonly config: VmConfig;
  readonly hostMm: HostMmHandle;
  readonly memslots: MemslotsHandle;
  readonly flushDomain: FlushDomain;
  readonly vcpus: readonly VmVcpuHandle[];
  readonly accessEpochs: RecorderHandle | null;
  /** First gfn of the test memory, and where it lies in the owner's address space. */
  readonly baseGfn: Gfn;
  readonly baseHva: Hva;
  /** Page tables that the guest keeps, in a slot of their own; null if it has none. */
  readonly guestTables: GuestTableArea | null;
  /** Control block of a run (`Control`). */
  readonly control: Address;
}

/** One thread's view of a VM: every component attached and wired. */
export class Vm {
  readonly config: VmConfig;
  readonly hostMm: HostMm;
  readonly memslots: Memslots;
  /** Null if the configuration has no TDP MMU. */
  readonly tdp: TdpMmu | null;
  /** Null if the configuration has no shadow pages. */
  readonly shadow: ShadowMmu | null;
  readonly kvm: Kvm;
  readonly accessEpochs: GuestAccessEpochs | null;

  /**
   * @param cpu of this thread; registers this thread's notifier with the host
   * @param latencies where this thread's fault and invalidation times go
   */
  constructor(
    readonly machine: ThreadMachine,
    cpu: Cpu,
    readonly handle: VmHandle,
    readonly latencies: Latencies,
  ) {
    const { config, flushDomain, accessEpochs } = handle;
    this.config = config;
    this.hostMm = attachHostMm(machine, handle.hostMm);
    this.memslots = attachMemslots(machine, handle.memslots);
    const parts = { memslots: this.memslots, flushDomain, host: this.hostMm };
    const { tdp, shadow } = attachVmMmus(machine, handle, parts);
    this.tdp = tdp;
    this.shadow = shadow;
    const aging = KVM_AGING_POLICIES[config.policy];
    const format = formatOf(config);
    const { slotZapAll } = { ...DEFAULT_TUNING, ...config.tuning };
    this.kvm = new Kvm({ ...parts, primary: this.hostMm, format, tdp, shadow, slotZapAll, aging });
    const notifier = new KvmMmuNotifier(this.memslots, this.kvm, aging.notifier);
    this.hostMm.notifiers.register(cpu, new TimedNotifier(notifier, latencies));
    this.accessEpochs = accessEpochs === null ? null : attachGuestAccessEpochs(machine, accessEpochs);
  }

  /** vCPU number `index`, for the one thread that runs it. */
  vcpu(index: number, faults: FaultObserver = noFaultObserver): VmVcpu {
    return new VmVcpu(this, index, faults);
  }

  /** Guest-physical address of test page `page`; also its linear address, and L2's address of it: guests map it one to one. */
  gpaOf(page: number): number {
    return (this.handle.baseGfn + page) * 4096;
  }

  /** Host virtual address of test page `page`; the same for pages of different slots that map the same host memory. */
  hvaOf(page: number): Hva {
    return (this.handle.baseHva + (page % pagesPerTestSlot(this.config)) * 4096) as Hva;
  }
}
