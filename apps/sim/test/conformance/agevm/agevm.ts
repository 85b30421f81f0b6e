import { createHostMm, type HostMm } from "@kvm-age/host-mm";
import { type Cpu, type FlushDomain, flushDomainBytes, ThreadMachine, traceTo } from "@kvm-age/machine";
import {
  createMemslots,
  type Hva,
  KvmMmuNotifier,
  kvmSetMemoryRegion,
  type Memslots,
} from "@kvm-age/memslot";
import type { Gfn, SpteFormat } from "@kvm-age/spte";
import { KVM_AGING_POLICIES } from "../../../src/aging/aging-policies.js";
import { agevmGuestTables } from "../../../src/conformance/input/agevm-guest-tables.js";
import { createModelMmus } from "../../../src/conformance/model/create-model-mmus.js";
import { PreemptDepth, withPreemptDepth } from "../../../src/tracing/preempt-depth-cpu.js";
import type { VmMmus } from "../../../src/vm/vm-mmus.js";
import { type AgevmConfig, formatOf, pagingOf, startOf, TEST_GFN, usesTdpMmu } from "./agevm-config.js";
import { AgevmHost } from "./agevm-host.js";
import { AgevmVcpu } from "./agevm-vcpu.js";
import { CODE_HVA, CODE_PAGES, CodeMemory } from "./code-memory.js";
import { ProbedKvm } from "./probed-kvm.js";
import { ProbedNotifier } from "./probed-notifier.js";
import { type Task, TraceLog } from "./trace-log.js";

const ARENA_BYTES = 64 << 20;
const MAX_GFN = 2 ** 36 - 1;
const HOST_PAGES = 8192;
const KVM_MEM_LOG_DIRTY_PAGES = 1;
export const TEST_SLOT = 1;

/** The VMM's main task, which also runs vCPU 0 outside of races. */
export const MAIN_TASK: Task = { comm: "agevm", pid: 700 };

/**
 * The recorded VMM on our own machine: real host memory management, memslots, both MMUs and hardware vCPUs, on one thread. What happens
 * goes to a log that reads like the kernel's trace.
 */
export class Agevm {
  readonly machine: ThreadMachine = ThreadMachine.create({ arenaBytes: ARENA_BYTES, maxCpus: 2 });
  readonly cpu: Cpu;
  readonly log: TraceLog;
  readonly format: SpteFormat;
  readonly hostMm: HostMm;
  readonly host: AgevmHost;
  readonly memslots: Memslots;
  readonly flushDomain: FlushDomain;
  readonly mmus: VmMmus;
  readonly kvm: ProbedKvm;
  readonly baseHva: Hva;
  private readonly vcpus: readonly AgevmVcpu[];

  constructor(readonly config: AgevmConfig) {
    const depth = new PreemptDepth();
    this.log = new TraceLog(MAIN_TASK, depth);
    const trace = traceTo((_id, event) => this.log.event(event));
    this.cpu = withPreemptDepth(depth)(trace(this.machine.attach()));
    const { cpu, machine } = this;
    this.format = formatOf(config);
    this.hostMm = createHostMm(cpu, machine, {
      pages: HOST_PAGES,
      swapSlots: HOST_PAGES,
      transparentHugePages: config.backing === "thp",
      contents: false,
    });
    const code = new CodeMemory(cpu, machine);
    this.host = new AgevmHost(this.hostMm, code);
    this.memslots = createMemslots(cpu, machine, {
      maxGfn: MAX_GFN as Gfn,
      tdpEnabled: config.mmu !== "shadow",
      tdpMmuEnabled: usesTdpMmu(config.mmu),
    });
    const { vcpus } = config;
    this.flushDomain = {
      address: machine.frames.allocateSpan(cpu, flushDomainBytes(vcpus)),
      maxMembers: vcpus,
    };
    this.baseHva = this.hostMm.mmapAnonymous(cpu, config.pages * 4096, { thp: config.backing === "thp" });
    const wired = this.wireKvm();
    this.mmus = wired.mmus;
    this.kvm = wired.kvm;
    const tables = agevmGuestTables(startOf(config, this.baseHva));
    if (config.guest !== "n") for (const [gpa, value] of tables) code.store(CODE_HVA + gpa, value);
    this.setSlot(0, 0, CODE_HVA, CODE_PAGES);
    this.setSlot(TEST_SLOT, TEST_GFN, this.baseHva, config.pages);
    this.vcpus = Array.from({ length: vcpus }, (_, index) => new AgevmVcpu(this, index));
  }

  vcpu(index: number): AgevmVcpu {
    return this.vcpus[index]!;
  }

  /** Levels that the hardware walks from a root. */
  get rootLevel(): 3 | 4 {
    return this.config.mmu === "shadow" && this.config.guest === "n" ? 3 : 4;
  }

  /** Where the VMM has a test page. */
  hvaOf(page: number): Hva {
    return (this.baseHva + page * 4096) as Hva;
  }

  /** Creates, changes or (0 pages) deletes a slot. */
  setSlot(slot: number, gfn: number, hva: number, pages: number, logDirtyPages = false): void {
    kvmSetMemoryRegion(this.memslots, this.cpu, this.kvm, {
      slot,
      flags: logDirtyPages ? KVM_MEM_LOG_DIRTY_PAGES : 0,
      guestPhysAddr: gfn * 4096,
      memorySize: pages * 4096,
      userspaceAddr: hva as Hva,
    });
  }

  /** The process ends: first its memory goes, then the VM. */
  exit(): void {
    this.log.note("exit");
    this.hostMm.exitMmap(this.cpu);
    for (const vcpu of this.vcpus) vcpu.unload(this.cpu);
    this.cpu.rcuBarrier();
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

  private wireKvm(): { mmus: VmMmus; kvm: ProbedKvm } {
    const { config, cpu, machine, memslots, flushDomain, host, format, log } = this;
    const policy = config.kernel === "linux-6.12" ? "locked" : "lockless";
    const parts = { memslots, flushDomain, host };
    const mmus = createModelMmus(cpu, machine, parts, {
      format,
      tdpMmu: usesTdpMmu(config.mmu),
      policy,
      tuning: config.tuning,
      paging: pagingOf(config),
    });
    const aging = KVM_AGING_POLICIES[policy];
    const { slotZapAll } = config.tuning;
    const kvm = new ProbedKvm({ ...parts, ...mmus, primary: host, format, slotZapAll, aging }, log);
    const notifier = new KvmMmuNotifier(memslots, kvm, aging.notifier);
    this.hostMm.notifiers.register(cpu, new ProbedNotifier(notifier, log));
    return { mmus, kvm };
  }
}
