import { isAccessedSpte, isLastSpte, isShadowPresentPte, type PgLevel, type SpteFormat } from "@kvm-age/spte";
import type { KvmEvent, ProbeRecord, TraceRecord } from "../schema/trace-record.js";
import type { CheckContext } from "./check-context.js";
import { type Finding, hex } from "./findings.js";
import type { NotifierCall, Task } from "./task.js";
import type { EntryState, TdpTable } from "./tdp-table.js";
import { framesOfEntry, roundGfn } from "./tdp-table.js";

const PAGE_BYTES = 4096;
/** User space ends here with five-level paging. */
const USER_END = 2 ** 56;
/** Largest number of frames that is searched entry by entry. */
const SEARCHED_FRAMES = 1 << 21;

type NotifierRecord = Extract<
  KvmEvent,
  { readonly name: "kvm_age_hva" | "kvm_test_age_hva" | "kvm_unmap_hva_range" }
>;

/** Functions whose probes show a range of host-virtual addresses, and those that show one of gfns. */
const HVA_FUNCTIONS = new Set([
  "kvm_mmu_notifier_clear_young",
  "kvm_mmu_notifier_clear_flush_young",
  "kvm_mmu_notifier_test_young",
]);
const GFN_FUNCTIONS = new Set(["kvm_age_gfn", "kvm_test_age_gfn", "kvm_unmap_gfn_range"]);
const TDP_AGING = "kvm_tdp_mmu_age_gfn_range";

/** Name of the function that a probe sits in; for a return probe, the one that returned. */
function functionOf(probe: ProbeRecord): string {
  const returned = probe.place.indexOf("<- ");
  const name = returned >= 0 ? probe.place.slice(returned + 3) : probe.place;
  return /^\(?([A-Za-z0-9_.]+)/.exec(name.trim())?.[1] ?? "";
}

function isReturn(probe: ProbeRecord): boolean {
  return probe.place.includes("<- ");
}

/** Leaves that are known in a range of gfns. */
function* knownLeaves(context: CheckContext, start: number, end: number): Generator<EntryState> {
  if (end - start > SEARCHED_FRAMES) return;
  for (let level = 1; level <= 3; level++) {
    const frames = framesOfEntry(level);
    for (let base = roundGfn(start, level + 1); base < end; base += frames * 512) {
      for (const asId of [0, 1])
        for (const table of context.tables.covering(asId, level, base)) {
          const first = Math.max(0, Math.floor((start - base) / frames));
          const last = Math.min(511, Math.ceil((end - base) / frames) - 1);
          for (let index = first; index <= last; index++) {
            const value = table.peek(index);
            if (value === null || !isShadowPresentPte(value) || !isLastSpte(value, level as PgLevel))
              continue;
            yield table.entry(index);
          }
        }
    }
  }
}

/** Follows the calls of the MMU notifier and what probes show of them. */
export class NotifierCalls {
  readonly #context: CheckContext;
  readonly #format: SpteFormat;
  /** Pages between the host addresses and the gfns of memslots, as far as they were seen. */
  readonly #offsets = new Set<number>();

  constructor(context: CheckContext) {
    this.#context = context;
    this.#format = context.format;
  }

  begin(record: NotifierRecord, task: Task): void {
    const [start, end] =
      record.name === "kvm_test_age_hva"
        ? [record.fields.hva, record.fields.hva + 1]
        : [record.fields.start, record.fields.end];
    const kind =
      record.name === "kvm_age_hva" ? "age" : record.name === "kvm_test_age_hva" ? "test" : "unmap";
    const finding = this.#judgeRange(kind, start, end) ?? this.#judgeAnnounced(record, task, start, end);
    if (finding !== null) this.#context.findings.report(record.line, finding);
    const range = finding !== null && task.announced !== null ? task.announced : { start, end };
    task.notifier = {
      kind,
      line: record.line,
      start: range.start,
      end: range.end,
      blamed: finding !== null,
      gfns: null,
      offset: null,
      young: false,
    };
    task.announced = null;
    task.answer = null;
  }

  probe(record: ProbeRecord, task: Task): void {
    const name = functionOf(record);
    if (isReturn(record)) {
      this.#returned(record, task, name);
      return;
    }
    const { start, end } = record.args;
    if (start === undefined || end === undefined) return;
    const range = { start: Number(start), end: Number(end), line: record.line };
    if (HVA_FUNCTIONS.has(name)) task.announced = range;
    else if (GFN_FUNCTIONS.has(name) && task.notifier !== null && this.#isShown(name))
      this.#gfnRange(record, task.notifier, range);
  }

  /** Whether the trace shows the calls that the function is part of. */
  #isShown(name: string): boolean {
    return name !== "kvm_age_gfn" || this.#context.seen.has("kvm_age_hva");
  }

  #judgeRange(kind: NotifierCall["kind"], start: number, end: number): Finding | null {
    const whole = kind !== "unmap" || (start % PAGE_BYTES === 0 && end % PAGE_BYTES === 0);
    if (start < end && end <= USER_END && whole) return null;
    return { rule: "notifier-range", detail: `${hex(start)} to ${hex(end)}` };
  }

  #judgeAnnounced(
    { name }: TraceRecord & { name: string },
    task: Task,
    start: number,
    end: number,
  ): Finding | null {
    const { announced } = task;
    if (announced === null || name !== "kvm_age_hva") return null;
    if (announced.start === start && announced.end === end) return null;
    const detail = `${hex(start)} to ${hex(end)}, where the probe before shows ${hex(announced.start)} to ${hex(announced.end)}`;
    return { rule: "probe-repeats-the-range", detail, contradicts: announced.line };
  }

  #gfnRange(record: ProbeRecord, call: NotifierCall, { start, end }: { start: number; end: number }): void {
    const usable = !call.blamed || call.kind === "age";
    const finding = usable ? this.#judgeGfns(call, start, end) : null;
    if (finding === null) {
      const [fromStart, fromEnd] = [
        Math.floor(call.start / PAGE_BYTES) - start,
        Math.ceil(call.end / PAGE_BYTES) - end,
      ];
      call.gfns = { start, end };
      call.offset = usable && fromStart === fromEnd ? fromStart : null;
    } else this.#context.findings.report(record.line, finding);
  }

  #judgeGfns(call: NotifierCall, start: number, end: number): Finding | null {
    const [first, last] = [Math.floor(call.start / PAGE_BYTES), Math.ceil(call.end / PAGE_BYTES)];
    const [fromStart, fromEnd] = [first - start, last - end];
    const detail = `gfns ${hex(start)} to ${hex(end)} for ${hex(call.start)} to ${hex(call.end)}`;
    const illegal: Finding = { rule: "probe-repeats-the-range", detail, contradicts: call.line };
    if (start >= end || end - start > last - first) return illegal;
    if (fromStart !== fromEnd) return this.#isClipped(fromStart, fromEnd) ? null : illegal;
    this.#offsets.add(fromStart);
    return null;
  }

  /** A memslot can hold a part of the range only: then one end at least is that of the call. Where slots end is not known. */
  #isClipped(fromStart: number, fromEnd: number): boolean {
    return this.#offsets.size === 0 || this.#offsets.has(fromStart) || this.#offsets.has(fromEnd);
  }

  #returned(record: ProbeRecord, task: Task, name: string): void {
    const { ret } = record.args;
    const call = task.notifier;
    if (call === null || ret === undefined) return;
    const young = BigInt.asUintN(1, ret) === 1n;
    if (name === TDP_AGING) this.#judgeYoung(record, task, call, young);
    else if (name === "kvm_age_gfn" || name === "kvm_mmu_notifier_clear_young")
      this.#judgeRepeated(record, task, young);
    else if (name === "kvm_unmap_gfn_range") this.#judgeUnmapped(record, call);
    if (GFN_FUNCTIONS.has(name)) task.notifier = { ...call, gfns: null, kind: "test" };
    if (HVA_FUNCTIONS.has(name)) [task.notifier, task.answer] = [null, null];
  }

  #judgeYoung(record: ProbeRecord, task: Task, call: NotifierCall, young: boolean): void {
    task.answer = { young, line: record.line };
    const illegal = (detail: string): void => {
      this.#context.findings.report(record.line, {
        rule: "young-iff-accessed",
        detail,
        contradicts: call.line,
      });
      task.answer = null;
    };
    if (!young && call.young) {
      illegal("answered old after an accessed leaf was aged");
      return;
    }
    if (call.gfns === null || this.#context.treesFromBefore || !this.#context.tdpMmuKnown) return;
    const tree = this.#treeOf(call);
    let leaves = 0;
    for (const entry of knownLeaves(this.#context, call.gfns.start, call.gfns.end)) {
      leaves++;
      if (
        young ||
        entry.table.root !== tree ||
        entry.doubtful ||
        entry.value === null ||
        !isAccessedSpte(this.#format, entry.value)
      )
        continue;
      if (!this.#context.isRacing(record)) {
        illegal(`answered old, but gfn ${hex(entry.identity.gfn)} is accessed: ${hex(entry.value)}`);
        return;
      }
    }
    if (young && !call.young && leaves === 0 && !this.#context.isRacing(record))
      illegal("answered young, but the range maps nothing");
  }

  /** The tree that calls for this part of the host's memory are known to change; null if none was changed yet. */
  #treeOf({ offset }: NotifierCall): TdpTable | null {
    return offset === null ? null : (this.#context.treeOfOffset.get(offset) ?? null);
  }

  /** A function's answer is that of the one it called, or of several of them. */
  #judgeRepeated(record: ProbeRecord, task: Task, young: boolean): void {
    const inner = task.answer;
    task.answer = { young, line: record.line };
    if (inner === null || !inner.young || young) return;
    const detail = "answered old, where the function it called answered young";
    this.#context.findings.report(record.line, {
      rule: "young-iff-accessed",
      detail,
      contradicts: inner.line,
    });
  }

  #judgeUnmapped(record: ProbeRecord, call: NotifierCall): void {
    if (call.gfns === null || this.#context.treesFromBefore || !this.#context.tdpMmuKnown) return;
    const tree = this.#treeOf(call);
    for (const entry of knownLeaves(this.#context, call.gfns.start, call.gfns.end)) {
      if (
        entry.table.root !== tree ||
        entry.doubtful ||
        entry.early !== null ||
        this.#context.isRacing(record)
      )
        continue;
      const detail = `gfn ${hex(entry.identity.gfn)} still holds ${hex(entry.value!)}`;
      this.#context.findings.report(
        record.line,
        { rule: "unmap-is-complete", detail, contradicts: entry.line },
        entry,
      );
      entry.doubtful = true;
      return;
    }
  }
}
