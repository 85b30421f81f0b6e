import { type Address, NULL_ADDRESS, type TraceEvent } from "@kvm-age/machine";
import type { KvmEvent, TraceIdentity } from "@kvm-age/trace";
import { COMPARED_EVENTS, EventComparison } from "../compare/compare-event.js";
import { HashedPointers } from "../compare/hashed-pointers.js";
import { TablePages } from "../compare/table-pages.js";
import type { AgevmStart } from "../input/agevm-start.js";
import type { RecordedSlots } from "../input/recorded-slots.js";
import type { RootPageLevel } from "../input/root-level.js";
import type { Upcoming } from "../input/upcoming.js";
import type { ModelConfig } from "../model/model-config.js";
import { type ModelEntry, ModelTables } from "../model/model-tables.js";
import type { ModelVcpu } from "../model/model-vcpu.js";
import { ModelVm } from "../model/model-vm.js";
import { UnexpectedFaultError } from "../model/unexpected-fault-error.js";
import { type ComparedKind, type ConformanceReport, describeEvent } from "../report/conformance-report.js";
import type { GuestWindow } from "./guest-window.js";
import { learnGuestTables } from "./learn-guest-tables.js";
import { DirtyLogReplay } from "./replay-dirty-log.js";
import { DumpReplay } from "./replay-dump.js";
import { IdleReplay } from "./replay-idle.js";
import { SilentAccesses } from "./silent-access.js";

/** Everything that the replay of one trace works with: the model, what is known of the recording, and what was found. */
export class ReplayContext {
  readonly vm: ModelVm;
  readonly tables: ModelTables;
  readonly tablePages: TablePages = new TablePages();
  /** What each task's vCPU is doing. */
  readonly windows = new Map<number, GuestWindow>();
  readonly silent: SilentAccesses = new SilentAccesses(this);
  readonly dump: DumpReplay = new DumpReplay(this);
  readonly dirtyLog: DirtyLogReplay = new DirtyLogReplay(this);
  readonly idle: IdleReplay = new IdleReplay(this);
  private readonly roots = new Set<Address>();
  private racing = false;
  private readonly vcpuOfTask = new Map<number, number>();
  private readonly sinceRace = new Set<number>();
  private readonly pointers = new HashedPointers();
  private readonly comparison: EventComparison;

  constructor(
    readonly identity: TraceIdentity,
    config: ModelConfig,
    readonly rootPageLevel: RootPageLevel,
    /** The recorded VMM's own words, null if it left none. */
    readonly start: AgevmStart | null,
    readonly slots: RecordedSlots,
    private readonly upcoming: Upcoming,
    readonly report: ConformanceReport,
  ) {
    this.vm = new ModelVm(config);
    for (const slot of slots.all()) this.vm.setSlot(slot);
    this.tables = new ModelTables(config.format, this.vm.cpu, rootPageLevel);
    this.comparison = new EventComparison(config.format, this.tablePages, this.pointers, rootPageLevel);
    this.vm.frameFreed = (address): void => {
      this.roots.delete(address);
      this.tablePages.release(address);
      this.pointers.forgetPage(address);
    };
  }

  /** The root table of a vCPU of the model. */
  root(vcpu = 0): Address {
    return this.vm.vcpu(vcpu).rootHpa(this.vm.cpu);
  }

  /** Whether one of the VM's roots has the entry that an event says to have changed. */
  hasEntry({ fields }: KvmEvent & { name: "kvm_tdp_mmu_spte_changed" }): boolean {
    return this.entries(fields.gfn, fields.level).some(({ spte }) =>
      this.sameEntry(fields.old_spte, spte, fields.level),
    );
  }

  /** The present entries of a page at a level, in all roots that vCPUs have used. */
  entries(gfn: number, level: number): ModelEntry[] {
    const found = [...this.roots].map((root) => this.tables.find(root, gfn, level));
    return found.filter((entry) => entry !== null);
  }

  sameEntry(kernel: bigint, model: bigint, level: number): boolean {
    return this.comparison.sameEntry(kernel, model, level as 1);
  }

  /** What the model emitted since the last look, as far as it is output of an MMU. */
  takeOutputs(): TraceEvent[] {
    return this.vm.takeEvents().filter(({ name }) => name in COMPARED_EVENTS);
  }

  /**
   * Compares an operation's outputs in order.
   *
   * @returns what the kernel printed beyond what the model emitted
   */
  compareOutputs(kernel: readonly KvmEvent[], model: readonly TraceEvent[]): readonly KvmEvent[] {
    const common = Math.min(kernel.length, model.length);
    for (let index = 0; index < common; index++) this.compareEvent(kernel[index]!, model[index]!);
    for (const event of model.slice(common)) this.extra(event, kernel.at(-1)?.line ?? this.line);
    return kernel.slice(common);
  }

  /** Line of the operation in hand, for mismatches without an event. */
  line = 0;

  compareValue(kind: ComparedKind, line: number, what: string, kernel: string, model: string): void {
    if (kernel === model) this.report.match(kind);
    else this.mismatch(kind, line, what, kernel, model);
  }

  mismatch(
    kind: ComparedKind,
    line: number,
    what: string,
    kernel: string,
    model: string,
    fields: readonly string[] = [],
  ): void {
    this.report.mismatch({ kind, line, what, kernel, model, fields });
  }

  /** Whether nobody wrote down when the guest uses a page. */
  accessesUnknown(gfn: number): boolean {
    return this.racing || this.start === null || gfn < this.start.gfnBase || this.sinceRace.has(gfn);
  }

  /** Whether other tasks work on the same VM while a fault is handled. */
  isConcurrent(): boolean {
    return this.racing || (this.start === null && this.upcoming.faultingTasks > 1);
  }

  /** Several vCPUs run while the VMM does something else: what they do to the test memory is not written down. */
  raceBegins(): void {
    this.racing = true;
  }

  /** From now on a page's state is known again once it has been seen. */
  raceEnds(): void {
    this.racing = false;
    for (let page = 0; page < this.start!.pages; page++) this.sinceRace.add(this.start!.gfnBase + page);
  }

  /** A page's state was seen. */
  seen(gfn: number): void {
    this.sinceRace.delete(gfn);
  }

  /** The vCPU that a task runs: what its notes say, what its next fault does, or one that has not run yet. */
  vcpuOf(pid: number): number {
    const told = this.windows.get(pid)?.vcpu ?? this.upcoming.vcpuOfNextFault(pid, this.line);
    const vcpu = told ?? this.vcpuOfTask.get(pid) ?? this.idleVcpu();
    this.vcpuOfTask.set(pid, vcpu);
    return vcpu;
  }

  private idleVcpu(): number {
    for (let vcpu = 0; ; vcpu++) if (this.root(vcpu) === NULL_ADDRESS) return vcpu;
  }

  /** Whether the recording has a probe, so that a call without its record did not happen. */
  hasProbe(name: string): boolean {
    return this.upcoming.probes.has(name);
  }

  dirtyLogComing(pid: number, line: number): boolean {
    return this.upcoming.isDirtyLogRead(pid, line);
  }

  enter(vcpu: ModelVcpu): void {
    vcpu.enter(this.vm.cpu);
    this.roots.add(vcpu.rootHpa(this.vm.cpu));
  }

  /** KVM reads or emulates an instruction of the guest, and translates its address for that. */
  translate(pid: number, outputs: readonly KvmEvent[]): void {
    const [walk] = outputs;
    if (walk?.name !== "kvm_mmu_pagetable_walk") return;
    const vcpu = this.vm.vcpu(this.vcpuOf(pid));
    learnGuestTables(this, vcpu.linearRoot, vcpu.nestedRoot, outputs);
    vcpu.translate(this.vm.cpu, Number(walk.fields.addr), walk.fields.pferr);
  }

  /** The vCPU of a task goes on with the root that the kernel loads (`load_mmu_pgd`): its own, or that of another of its contexts. */
  followRoot(pid: number, kernelRoot: number, line: number): void {
    const vcpu = this.vm.vcpu(this.vcpuOf(pid));
    const { cpu } = this.vm;
    const known = this.tablePages.modelPage(kernelRoot);
    if (vcpu.rootHpa(cpu) === NULL_ADDRESS) this.enter(vcpu);
    if (known !== null && known !== vcpu.rootHpa(cpu)) vcpu.changeContext(cpu);
    const same = this.tablePages.same(vcpu.rootHpa(cpu), kernelRoot);
    this.compareValue("answer", line, "root of the vCPU", "its root", same ? "its root" : "another");
  }

  /** The accesses of a task's guest that are over when it faults at a page. */
  finishAccessesBefore(pid: number, gfn: number): void {
    const window = this.windows.get(pid);
    if (window !== undefined) this.access(window, window.completedBefore(gfn));
  }

  /** The guest is done with what its notes announced. */
  finishWindow(pid: number): void {
    const window = this.windows.get(pid);
    this.windows.delete(pid);
    if (window !== undefined) this.access(window, window.rest());
  }

  /** The kernel printed an event that the model did not emit. */
  unexplained(event: KvmEvent): void {
    this.mismatch(
      "event",
      event.line,
      "the kernel prints an event that the model did not emit",
      describeEvent(event),
      "(nothing)",
    );
  }

  /** The model emitted an event that the kernel did not print. */
  extra(event: TraceEvent, line: number): void {
    this.mismatch(
      "event",
      line,
      "the model emits an event that the kernel did not",
      "(nothing)",
      describeEvent(event),
    );
  }

  private access(window: GuestWindow, gfns: readonly number[]): void {
    const vcpu = this.vm.vcpu(window.vcpu);
    for (const gfn of gfns) {
      try {
        vcpu.access(this.vm.cpu, gfn * 4096, window.kind);
      } catch (error) {
        if (!(error instanceof UnexpectedFaultError)) throw error;
        this.mismatch(
          "answer",
          this.line,
          `the guest's ${window.kind} of page ${gfn.toString(16)}`,
          "no fault",
          error.message,
        );
      }
    }
    for (const event of this.takeOutputs()) this.extra(event, this.line);
  }

  private compareEvent(kernel: KvmEvent, model: TraceEvent): void {
    const fields = this.comparison.differences(kernel, model);
    if (fields.length === 0) this.report.match("event");
    else
      this.mismatch(
        "event",
        kernel.line,
        `${kernel.name} differs`,
        describeEvent(kernel),
        describeEvent(model),
        fields,
      );
  }
}
