import {
  type Address,
  type Cpu,
  type FlushDomain,
  flushDomainBytes,
  ThreadMachine,
  type TraceEvent,
  traceTo,
} from "@kvm-age/machine";
import {
  createMemslots,
  type DirtyLog,
  type Hva,
  KvmMmuNotifier,
  kvmGetDirtyLog,
  kvmSetMemoryRegion,
  type Memslots,
  NULL_SLOT,
} from "@kvm-age/memslot";
import {
  attachShadowMmu,
  createShadowMmu,
  createShadowMmuVcpu,
  kvmInitMmu,
  noOtherMmu,
  type ShadowMmu,
  type ShadowMmuMachine,
  kvmMmuUnload as unloadShadow,
} from "@kvm-age/shadow-mmu";
import type { Gfn, SpteFormat } from "@kvm-age/spte";
import { createTdpMmu, createTdpMmuVcpu, type TdpMmu, kvmMmuUnload as unloadTdp } from "@kvm-age/tdp-mmu";
import { allocateVcpu } from "@kvm-age/vcpu";
import { KVM_AGING_POLICIES, type KvmAgingPolicy, mmuAgingOptions } from "../../aging/aging-policies.js";
import { ShadowRoots } from "../../vm/shadow-roots.js";
import { TdpRoots } from "../../vm/tdp-roots.js";
import type { GuestPaging } from "../input/guest-paging.js";
import { ModelVcpu } from "./model-vcpu.js";
import { ObservedFrames } from "./observed-frames.js";
import { ObservedKvm } from "./observed-kvm.js";
import { RecordedHost } from "./recorded-host.js";

/** What of the recorded kernel the model must share. */
export interface ModelConfig {
  readonly format: SpteFormat;
  /** Whether the TDP MMU maps the guest (`tdp_mmu`). */
  readonly tdpMmu: boolean;
  readonly policy: keyof typeof KVM_AGING_POLICIES;
  /** Whether the kernel was built to prove its MMU (`CONFIG_KVM_PROVE_MMU`), which zaps roots in fewer, larger steps. */
  readonly proveMmu: boolean;
  /** How the guest pages: matters with shadow paging. */
  readonly paging: GuestPaging;
}

/** A slot, as it is set with `KVM_SET_USER_MEMORY_REGION`. */
export interface ModelSlot {
  readonly slot: number;
  readonly gfn: number;
  readonly hva: number;
  readonly pages: number;
}

const ARENA_BYTES = 512 << 20;
const MAX_VCPUS = 64;
const MAX_GFN = 2 ** 36 - 1;
const ROOT_LEVEL = 4;
const KVM_MEM_LOG_DIRTY_PAGES = 1;

/** Memslots and MMUs of the packages over a recorded host, on one thread; every event that they emit is kept until it is taken. */
export class ModelVm {
  readonly machine: ThreadMachine = ThreadMachine.create({ arenaBytes: ARENA_BYTES, maxCpus: 2 });
  readonly cpu: Cpu;
  readonly host: RecordedHost = new RecordedHost();
  readonly memslots: Memslots;
  readonly tdp: TdpMmu | null;
  readonly shadow: ShadowMmu | null;
  readonly kvm: ObservedKvm;
  readonly notifier: KvmMmuNotifier;
  /** Told of every frame that the MMUs give back. */
  frameFreed: (address: Address) => void = () => {};
  private readonly flushDomain: FlushDomain;
  private readonly parts: {
    readonly memslots: Memslots;
    readonly flushDomain: FlushDomain;
    readonly host: RecordedHost;
  };
  private readonly mmuMachine: ShadowMmuMachine;
  private readonly vcpus = new Map<number, ModelVcpu>();
  private events: TraceEvent[] = [];

  constructor(private readonly config: ModelConfig) {
    const { format, tdpMmu } = config;
    this.cpu = traceTo((_id, event) => this.events.push(event))(this.machine.attach());
    const tdpEnabled = format.mode !== "shadow";
    this.memslots = createMemslots(this.cpu, this.machine, {
      maxGfn: MAX_GFN as Gfn,
      tdpEnabled,
      tdpMmuEnabled: tdpMmu,
    });
    this.flushDomain = {
      address: this.machine.frames.allocateSpan(this.cpu, flushDomainBytes(MAX_VCPUS)),
      maxMembers: MAX_VCPUS,
    };
    this.parts = { memslots: this.memslots, flushDomain: this.flushDomain, host: this.host };
    this.mmuMachine = this.observeFrames();
    const policy = KVM_AGING_POLICIES[config.policy];
    this.tdp = tdpMmu ? this.createTdp(policy) : null;
    this.shadow = tdpMmu ? null : this.createShadow(policy);
    this.kvm = new ObservedKvm({
      ...this.parts,
      primary: this.host,
      format,
      tdp: this.tdp,
      shadow: this.shadow,
      slotZapAll: true,
      aging: policy,
    });
    this.notifier = new KvmMmuNotifier(this.memslots, this.kvm, policy.notifier);
  }

  /** The events since the last call. */
  takeEvents(): TraceEvent[] {
    const { events } = this;
    this.events = [];
    return events;
  }

  /** vCPU number `index`, made when it is first asked for. */
  vcpu(index: number): ModelVcpu {
    for (let next = this.vcpus.size; next <= index; next++) this.vcpus.set(next, this.createVcpu(next));
    return this.vcpus.get(index)!;
  }

  /** Creates, deletes (0 pages) or changes a slot. */
  setSlot({ slot, gfn, hva, pages }: ModelSlot, logDirtyPages = false): void {
    kvmSetMemoryRegion(this.memslots, this.cpu, this.kvm, {
      slot,
      flags: logDirtyPages ? KVM_MEM_LOG_DIRTY_PAGES : 0,
      guestPhysAddr: gfn * 4096,
      memorySize: pages * 4096,
      userspaceAddr: hva as Hva,
    });
  }

  /** The VM is destroyed: its vCPUs drop their roots (`kvm_arch_vcpu_destroy`). */
  unloadVcpus(): void {
    for (const vcpu of this.vcpus.values()) vcpu.unload();
  }

  /** A slot is deleted of which nothing more is known (`kvm_arch_flush_shadow_memslot`). */
  zapAllFast(): void {
    const { slotsLock } = this.memslots.locks;
    this.cpu.mutexLock(slotsLock);
    this.kvm.flushShadowMemslot(this.cpu, NULL_SLOT);
    this.cpu.mutexUnlock(slotsLock);
  }

  getDirtyLog(slot: number): DirtyLog {
    return kvmGetDirtyLog(this.memslots, this.cpu, this.kvm, slot);
  }

  inSrcu<Result>(work: () => Result): Result {
    const { srcu } = this.memslots.locks;
    const index = this.cpu.srcuReadLock(srcu);
    try {
      return work();
    } finally {
      this.cpu.srcuReadUnlock(srcu, index);
    }
  }

  private observeFrames(): ShadowMmuMachine {
    const { machine } = this;
    return {
      frames: new ObservedFrames(machine, (address) => this.frameFreed(address)),
      createSlab: (cpu, name, bytes) => machine.createSlab(cpu, name, bytes),
      slab: (handle) => machine.slab(handle),
    };
  }

  private createTdp(policy: KvmAgingPolicy): TdpMmu {
    const options = { ...mmuAgingOptions(policy.tdp), proveMmu: this.config.proveMmu };
    return createTdpMmu(this.cpu, this.mmuMachine, this.parts, { format: this.config.format, options });
  }

  private createShadow(policy: KvmAgingPolicy): ShadowMmu {
    const parts = { ...this.parts, otherMmu: noOtherMmu };
    const options = mmuAgingOptions(policy.shadow);
    const { handle } = createShadowMmu(this.cpu, this.mmuMachine, parts, {
      format: this.config.format,
      options,
    });
    return attachShadowMmu(this.mmuMachine, handle, parts);
  }

  private createVcpu(index: number): ModelVcpu {
    const { format } = this.config;
    const handle = allocateVcpu(this.cpu, this.machine, {
      pageFormat: format.mode === "pae" ? "shadow" : format.mode,
      adEnabled: format.kvmAdEnabled,
      rootLevel: ROOT_LEVEL,
      maxPhyAddr: format.host.maxPhyAddr,
      flushDomain: this.flushDomain,
    });
    const { tdp, shadow, cpu } = this;
    if (tdp !== null) {
      const vcpu = createTdpMmuVcpu(tdp, cpu, index);
      return new ModelVcpu(this, handle, new TdpRoots(tdp, vcpu, this.host), () => unloadTdp(tdp, cpu, vcpu));
    }
    const vcpu = createShadowMmuVcpu(shadow!, cpu, index);
    this.inSrcu(() => kvmInitMmu(shadow!, cpu, vcpu, this.config.paging.registers));
    const roots = new ShadowRoots(shadow!, vcpu, handle);
    const model = new ModelVcpu(this, handle, roots, () => unloadShadow(shadow!, cpu, vcpu));
    if (format.mode === "shadow") model.startPaging(cpu, this.config.paging.registers.cr3);
    return model;
  }
}
