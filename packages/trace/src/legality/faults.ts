import { isExecutablePte, type Spte, type SpteFormat, spteToPfn } from "@kvm-age/spte";
import type { KvmEventFields } from "../schema/kvm-event-fields.js";
import type { TraceRecord } from "../schema/trace-record.js";
import type { CheckContext } from "./check-context.js";
import { hex } from "./findings.js";
import type { FaultInProgress, Task } from "./task.js";
import { framesOfEntry, roundGfn } from "./tdp-table.js";
import { type Statement, vote } from "./vote.js";

const PAGE_SIZE = 4096n;

/** What the lines of one fault say in common. */
type Subject = "gfn" | "pfn" | "level";

/** Whether the address of a fault is guest-physical. */
function faultsAreGuestPhysical(format: SpteFormat): boolean {
  return format.mode === "ept" || format.mode === "npt";
}

function newFault(address: bigint | null): FaultInProgress {
  return {
    demand: address !== null,
    address,
    gfns: [],
    pfns: [],
    levels: [],
    access: null,
    requestLine: 0,
    leaf: null,
  };
}

/** Follows faults and compares what their lines say of gfn, pfn and level. */
export class Faults {
  readonly #context: CheckContext;

  constructor(context: CheckContext) {
    this.#context = context;
  }

  /** `kvm_page_fault`. */
  begin(record: TraceRecord, fields: KvmEventFields["kvm_page_fault"], task: Task): void {
    this.close(task);
    task.fault = newFault(fields.address);
    if (!faultsAreGuestPhysical(this.#context.format)) return;
    const gfn = Number(BigInt.asUintN(64, fields.address) / PAGE_SIZE);
    task.fault.gfns.push({ value: gfn, line: record.line });
  }

  /** `kvm_mmu_spte_requested`. A second one on the way of the same fault starts another attempt. */
  request(record: TraceRecord, fields: KvmEventFields["kvm_mmu_spte_requested"], task: Task): void {
    if (task.fault !== null && task.fault.requestLine !== 0) this.close(task);
    task.fault ??= newFault(null);
    const { fault } = task;
    const { line } = record;
    fault.requestLine = line;
    fault.access = fields.access;
    fault.gfns.push({ value: fields.gfn, line });
    fault.pfns.push({ value: fields.pfn, line });
    fault.levels.push({ value: fields.level, line });
  }

  /** The gfn that the fault is about at the level, by what its lines said so far and what this one says. */
  gfnAt(fault: FaultInProgress, level: number, said: Statement): number {
    const votes = [...fault.gfns, said].map(({ value, line }) => ({ value: roundGfn(value, level), line }));
    const counted = vote(votes)!;
    const tie = counted.losers.length * 2 === votes.length;
    return tie ? said.value : counted.winner;
  }

  /** A line that shows the leaf of the fault. */
  mapped(
    fault: FaultInProgress,
    record: TraceRecord,
    place: { gfn: number; level: number },
    spte: Spte,
  ): void {
    const { line } = record;
    fault.gfns.push({ value: place.gfn, line });
    fault.levels.push({ value: place.level, line });
    const pfn = spteToPfn(this.#context.format, spte);
    fault.pfns.push({ value: pfn, line });
    if (place.level > 1 && isExecutablePte(this.#context.format, spte))
      this.#context.hugeExecutableSeen = true;
  }

  /** The task went on: what its fault said is compared. */
  close(task: Task): void {
    const { fault } = task;
    task.fault = null;
    if (fault === null || fault.leaf === null) return;
    const level = this.#judgeLevel(fault);
    const gfn = this.#judgeGfn(fault, level);
    this.#judgePfn(fault, level, gfn);
  }

  #blame(
    fault: FaultInProgress,
    subject: Subject,
    losers: readonly Statement[],
    winner: number,
    winnerLine: number,
  ): void {
    const entry = fault.leaf?.entry ?? null;
    for (const { value, line } of losers) {
      const detail = `${subject} ${hex(value)}, where the other lines of the fault say ${hex(winner)}`;
      this.#context.findings.report(
        line,
        { rule: "fault-witnesses-agree", detail, contradicts: winnerLine },
        entry,
      );
    }
  }

  #judgeLevel(fault: FaultInProgress): number {
    const { winner, losers } = vote(fault.levels)!;
    const stepsDown =
      losers.length === 1 && losers[0]!.line === fault.requestLine && losers[0]!.value > winner;
    if (!(stepsDown && this.#mayStepDown())) this.#blame(fault, "level", losers, winner, fault.leaf!.line);
    return winner;
  }

  /** Under the NX-huge-page mitigation a fault that asked for a huge page may get a small one. */
  #mayStepDown(): boolean {
    return this.#context.format.mode === "ept" && !this.#context.hugeExecutableSeen;
  }

  #judgeGfn(fault: FaultInProgress, level: number): number {
    const rounded = fault.gfns.map(({ value, line }) => ({ value: roundGfn(value, level), line }));
    const { winner, losers } = vote(rounded)!;
    this.#blame(fault, "gfn", losers, winner, fault.leaf!.line);
    const aligned = new Set([fault.leaf!.line]);
    const exact = fault.gfns.filter(
      ({ value, line }) => roundGfn(value, level) === winner && !aligned.has(line),
    );
    const faulting = exact.filter(({ line }) => line <= fault.requestLine);
    if (faulting.length === 2 && faulting[0]!.value !== faulting[1]!.value) {
      this.#blame(fault, "gfn", [faulting[1]!], faulting[0]!.value, faulting[0]!.line);
    }
    return faulting[0]?.value ?? winner;
  }

  #judgePfn(fault: FaultInProgress, level: number, gfn: number): void {
    const frames = framesOfEntry(level);
    const requestedLevel = fault.levels.find(({ line }) => line === fault.requestLine)?.value ?? level;
    const rounded = fault.pfns.map(({ value, line }) => {
      if (line !== fault.requestLine) return { value, line };
      const below = requestedLevel > level ? gfn % framesOfEntry(requestedLevel) : 0;
      const pfn = value % framesOfEntry(requestedLevel) === 0 ? value + below : value;
      return { value: pfn - (pfn % frames), line };
    });
    const { winner, losers } = vote(rounded)!;
    const blamedLeaf = losers.length * 2 === rounded.length ? fault.leaf!.line : 0;
    this.#blame(
      fault,
      "pfn",
      losers,
      winner,
      blamedLeaf === losers[0]?.line ? fault.requestLine : fault.leaf!.line,
    );
  }
}
