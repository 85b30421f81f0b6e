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
import type { ShadowMmu, ShadowMmuMachine } from "@kvm-age/shadow-mmu";
import type { Gfn } from "@kvm-age/spte";
import type { TdpMmu } from "@kvm-age/tdp-mmu";
import { allocateVcpu } from "@kvm-age/vcpu";
import { KVM_AGING_POLICIES } from "../../aging/aging-policies.js";
import { createModelMmus } from "./create-model-mmus.js";
import type { ModelConfig, ModelSlot } from "./model-config.js";
import { ModelVcpu } from "./model-vcpu.js";
import { ObservedFrames } from "./observed-frames.js";
import { ObservedKvm } from "./observed-kvm.js";
import { RecordedHost } from "./recorded-host.js";

const ARENA_BYTES = 512 << 20;
const MAX_VCPUS = 64;
const MAX_GFN = 2 ** 36 - 1;
const ROOT_LEVEL = 4;
const KVM_MEM_LOG_DIRTY_PAGES = 1;
/** Pages of one word of a dirty bitmap. */
const PAGES_PER_WORD = 64;

/** Memslots and MMUs of the packages over a recorded host, on one thread; every event that they emit is kept until it is taken. */
export class ModelVm {
  readonly machine: ThreadMachine = ThreadMachine.create({ arenaBytes: ARENA_BYTES, maxCpus: 2 });
  readonly cpu: Cpu;
  readonly host: RecordedHost = new RecordedHost();
  readonly memslots: Memslots;
  readonly tdp: TdpMmu | null;
  readonly shadow: ShadowMmu;
  readonly kvm: ObservedKvm;
  readonly notifier: KvmMmuNotifier;
  /** Told of every frame that the MMUs give back. */
  frameFreed: (address: Address) => void = () => {};
  private readonly flushDomain: FlushDomain;
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
    const parts = { memslots: this.memslots, flushDomain: this.flushDomain, host: this.host };
    const mmus = createModelMmus(this.cpu, this.observeFrames(), parts, config);
    this.tdp = mmus.tdp;
    this.shadow = mmus.shadow!;
    const aging = KVM_AGING_POLICIES[config.policy];
    this.kvm = new ObservedKvm({
      ...parts,
      ...mmus,
      primary: this.host,
      format,
      slotZapAll: config.tuning.slotZapAll,
      aging,
    });
    this.notifier = new KvmMmuNotifier(this.memslots, this.kvm, aging.notifier);
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
    for (const vcpu of this.vcpus.values()) vcpu.unload(this.cpu);
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

  /** Write-protects pages of a slot for the dirty log, or clears their D bits: the part of reading it that the MMU has. */
  armDirtyLog({ gfn: base }: ModelSlot, gfns: readonly number[]): void {
    const { cpu, kvm, memslots } = this;
    const { mmuLock } = memslots.locks;
    const masks = new Map<number, bigint>();
    for (const gfn of gfns) {
      const offset = gfn - base - ((gfn - base) % PAGES_PER_WORD);
      masks.set(offset, (masks.get(offset) ?? 0n) | (1n << BigInt(gfn - base - offset)));
    }
    const slot = memslots.gfnToMemslot(cpu, 0, base as Gfn);
    cpu.writeLock(mmuLock);
    for (const [offset, mask] of masks) kvm.enableLogDirtyPtMasked(cpu, slot, offset, mask);
    cpu.writeUnlock(mmuLock);
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

  private createVcpu(index: number): ModelVcpu {
    const { format, paging } = this.config;
    const handle = allocateVcpu(this.cpu, this.machine, {
      pageFormat: format.mode === "pae" ? "shadow" : format.mode,
      adEnabled: format.kvmAdEnabled,
      rootLevel: ROOT_LEVEL,
      maxPhyAddr: format.host.maxPhyAddr,
      flushDomain: this.flushDomain,
    });
    return new ModelVcpu(this, index, handle, paging);
  }
}
