import { isShadowPresentPte, type Spte } from "@kvm-age/spte";
import type { KvmEvent } from "@kvm-age/trace";
import { eventsOf, type Operation } from "../input/operation.js";
import { replayAging, replayTestAge } from "./replay-aging.js";
import { replayBracket } from "./replay-bracket.js";
import type { ReplayContext } from "./replay-context.js";
import { replayFault } from "./replay-fault.js";
import { replayNote } from "./replay-notes.js";
import { replayUnmap } from "./replay-unmap.js";
import { actOut } from "./replay-unprompted.js";

/** A VM of the trace. */
export interface ReplayedVm {
  /** Line at which it begins. */
  readonly start: number;
  readonly context: ReplayContext;
}

/** A notifier's call, to tell the calls of several VMs' subscriptions apart. */
interface LastCall {
  readonly start: number;
  readonly end: number;
  /** How many VMs were told of the range before. */
  readonly told: number;
}

/** Hands each operation of a trace to the VM that it concerns. */
export class TraceReplay {
  private readonly lastCalls = new Map<number, LastCall>();

  /** @param vms in the order in which they begin */
  constructor(private readonly vms: readonly ReplayedVm[]) {}

  replay(operation: Operation): void {
    const context = this.vmOf(operation);
    context.line = operation.line;
    const rest = replayOperation(context, operation);
    this.replayUnprompted(operation, rest);
    for (const { context: any } of this.vms) any.vm.cpu.rcuBarrier();
  }

  /** Outputs without an input in the trace. Several inputs may have followed each other: what one leaves over belongs to the next. */
  private replayUnprompted({ pid, line }: Operation, outputs: readonly KvmEvent[]): void {
    let left = outputs;
    while (left.length > 0) {
      const context = this.vmOfOutputs(left, line);
      context.silent.adoptFromEvents(left);
      actOut(context, pid, left);
      const rest = context.compareOutputs(left, context.takeOutputs());
      if (rest.length === left.length) break;
      left = rest;
    }
    for (const event of left) this.newest(line).unexplained(event);
  }

  private vmOf(operation: Operation): ReplayContext {
    const { kind, pid, line } = operation;
    if (kind !== "unmap" && kind !== "age" && kind !== "test-age") {
      this.lastCalls.delete(pid);
      return this.newest(line);
    }
    const alive = this.aliveAt(line);
    return alive[this.timesTold(operation) % alive.length]!.context;
  }

  /** How many VMs have been told of an operation's range just before: the newest subscription is told first. */
  private timesTold({ pid, records }: Operation): number {
    const call = records.find((record) => record.kind === "kvm" && record.name === "kvm_unmap_hva_range");
    const range = call?.kind === "kvm" && call.name === "kvm_unmap_hva_range" ? call.fields : null;
    const last = this.lastCalls.get(pid);
    if (range === null) {
      this.lastCalls.delete(pid);
      return 0;
    }
    const again = last !== undefined && last.start === range.start && last.end === range.end;
    const told = again ? last.told + 1 : 0;
    this.lastCalls.set(pid, { ...range, told });
    return told;
  }

  /** A teardown is that of the VM whose tables go; everything else is done by the newest. */
  private vmOfOutputs(outputs: readonly KvmEvent[], line: number): ReplayContext {
    const change = outputs.filter((event) => event.name === "kvm_tdp_mmu_spte_changed").find(wasPresent);
    if (change === undefined) return this.newest(line);
    const owner = this.aliveAt(line).find(({ context }) => context.hasEntry(change));
    return owner?.context ?? this.newest(line);
  }

  private newest(line: number): ReplayContext {
    return this.aliveAt(line)[0]!.context;
  }

  /** The VMs that have begun, the newest first. */
  private aliveAt(line: number): readonly ReplayedVm[] {
    return this.vms.filter(({ start }) => start <= line).reverse();
  }
}

function wasPresent({ fields }: KvmEvent & { name: "kvm_tdp_mmu_spte_changed" }): boolean {
  return isShadowPresentPte(fields.old_spte as Spte);
}

/** @returns the events that do not follow from the operation's input */
function replayOperation(context: ReplayContext, operation: Operation): readonly KvmEvent[] {
  switch (operation.kind) {
    case "note":
      if (operation.note !== null) replayNote(context, operation.pid, operation.note, operation.line);
      return [];
    case "bracket":
      return replayBracket(context, operation);
    case "fault":
      return replayFault(context, operation);
    case "age":
      return replayAging(context, operation);
    case "test-age":
      return replayTestAge(context, operation);
    case "unmap":
      return replayUnmap(context, operation);
    case "root":
      replayRoot(context, operation);
      return [];
    case "unprompted":
      return eventsOf(operation);
  }
}

function replayRoot(context: ReplayContext, { pid, records }: Operation): void {
  const [probe] = records;
  if (probe?.kind === "probe") context.vcpus.followRoot(pid, Number(probe.args.root), probe.line);
}
