import type { Address, TraceEvent } from "@kvm-age/machine";
import type { KvmEvent, TraceIdentity } from "@kvm-age/trace";
import { COMPARED_EVENTS, EventComparison } from "../compare/compare-event.js";
import { HashedPointers } from "../compare/hashed-pointers.js";
import { TablePages } from "../compare/table-pages.js";
import type { AgevmStart } from "../input/agevm-start.js";
import type { RecordedSlots } from "../input/recorded-slots.js";
import type { RootPageLevel } from "../input/root-level.js";
import type { Upcoming } from "../input/upcoming.js";
import type { ModelConfig } from "../model/model-config.js";
import { ModelTables } from "../model/model-tables.js";
import { ModelVm } from "../model/model-vm.js";
import { type ComparedKind, type ConformanceReport, describeEvent } from "../report/conformance-report.js";
import { GuestAccesses } from "./guest-accesses.js";
import { DirtyLogReplay } from "./replay-dirty-log.js";
import { DumpReplay } from "./replay-dump.js";
import { IdleReplay } from "./replay-idle.js";
import { ReplayedVcpus } from "./replayed-vcpus.js";
import { SilentAccesses } from "./silent-access.js";
import { UnseenUnmaps } from "./unseen-unmaps.js";

/** Everything that the replay of one trace works with: the model, what is known of the recording, and what was found. */
export class ReplayContext {
  readonly vm: ModelVm;
  readonly tables: ModelTables;
  readonly tablePages: TablePages = new TablePages();
  readonly guest: GuestAccesses;
  readonly vcpus: ReplayedVcpus = new ReplayedVcpus(this);
  readonly silent: SilentAccesses;
  readonly unseenUnmaps: UnseenUnmaps = new UnseenUnmaps(this);
  readonly dump: DumpReplay = new DumpReplay(this);
  readonly dirtyLog: DirtyLogReplay = new DirtyLogReplay(this);
  readonly idle: IdleReplay = new IdleReplay(this);
  private readonly pointers = new HashedPointers();
  private readonly comparison: EventComparison;

  constructor(
    readonly identity: TraceIdentity,
    config: ModelConfig,
    readonly rootPageLevel: RootPageLevel,
    /** The recorded VMM's own words, null if it left none. */
    readonly start: AgevmStart | null,
    readonly slots: RecordedSlots,
    readonly upcoming: Upcoming,
    readonly report: ConformanceReport,
  ) {
    this.vm = new ModelVm(config);
    const { cpuDirtyLog } = config.tuning;
    this.guest = new GuestAccesses(this, cpuDirtyLog);
    this.silent = new SilentAccesses(this, cpuDirtyLog);
    for (const slot of slots.all()) this.vm.setSlot(slot);
    this.tables = new ModelTables(config.format, this.vm.cpu, rootPageLevel);
    this.comparison = new EventComparison(config.format, this.tablePages, this.pointers, rootPageLevel);
    this.vm.frameFreed = (address): void => {
      this.vcpus.forgetRoot(address);
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
    return this.vcpus
      .entries(fields.gfn, fields.level)
      .some(({ spte }) => this.sameEntry(fields.old_spte, spte, fields.level));
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

  /** Whether other tasks work on the same VM while a fault is handled. */
  isConcurrent(): boolean {
    return this.guest.isRacing || (this.start === null && this.upcoming.faultingTasks > 1);
  }

  /** Whether the recording has a probe, so that a call without its record did not happen. */
  hasProbe(name: string): boolean {
    return this.upcoming.probes.has(name);
  }

  dirtyLogComing(pid: number, line: number): boolean {
    return this.upcoming.isDirtyLogRead(pid, line);
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
