import { isShadowPresentPte, type Spte } from "@kvm-age/spte";
import type { KvmEvent } from "../schema/trace-record.js";
import { aged } from "./aged.js";
import type { CheckContext } from "./check-context.js";
import { type Finding, hex, lastLeft } from "./findings.js";
import { isHardwareChange } from "./hardware-change.js";
import { entriesOfGfn, explains } from "./locate-entry.js";
import type { Task } from "./task.js";
import type { EntryState } from "./tdp-table.js";
import { roundGfn } from "./tdp-table.js";

type FastFaultRecord = Extract<KvmEvent, { readonly name: "fast_page_fault" }>;

const PAGE_BYTES = 4096n;
const WRITE = 0x2n;
const MAX_LEVEL = 5;

/** Whether the address is that of the fault. */
export function judgeFaultAddress({ fields }: FastFaultRecord, task: Task): Finding | null {
  const address = task.fault?.address ?? null;
  if (address === null || address === fields.gva) return null;
  return {
    rule: "fault-witnesses-agree",
    detail: `address ${hex(fields.gva)}, where the fault is at ${hex(address)}`,
  };
}

/**
 * What is wrong with the two values of the event alone. The new value is read back when the event is printed.
 *
 * @param racing whether events of others show that the entry changed meanwhile
 * @param silentAging whether aging may have changed it without an event, as it does in the shadow MMU
 */
export function judgeFastFault(
  context: CheckContext,
  { fields }: FastFaultRecord,
  racing: boolean,
  silentAging: boolean,
): Finding | null {
  const [oldSpte, newSpte] = [fields.old_spte as Spte, fields.new_spte as Spte];
  const detail = `${hex(oldSpte)} becomes ${hex(newSpte)}, fixed ${fields.fixed ? 1 : 0}`;
  if (fields.fixed && fields.spurious) return { rule: "fast-fault-flags", detail: "both fixed and spurious" };
  const moved = BigInt.asUintN(64, (oldSpte ^ newSpte) & context.format.spteBaseAddrMask) !== 0n;
  if (moved && fields.fixed && isShadowPresentPte(newSpte)) return { rule: "fast-fault-change", detail };
  if (racing) return null;
  if (!fields.fixed) {
    const same = isHardwareChange(context.format, oldSpte, newSpte, true);
    return same ? null : { rule: "fast-fault-flags", detail };
  }
  const write = BigInt.asUintN(64, fields.error_code & WRITE) !== 0n;
  const expected = context.fastFaults.result(oldSpte, write);
  if (silentAging && expected !== oldSpte && newSpte === aged(context.format, expected)) return null;
  if (oldSpte === newSpte) return { rule: "fast-fault-flags", detail };
  if (expected !== oldSpte && isHardwareChange(context.format, expected, newSpte, true)) return null;
  return { rule: "fast-fault-change", detail: `${detail}; expected ${hex(expected)}` };
}

/** Judges `fast_page_fault` of the TDP MMU. */
export class TdpFastFaults {
  readonly #context: CheckContext;

  constructor(context: CheckContext) {
    this.#context = context;
  }

  observe(record: FastFaultRecord, task: Task): void {
    const gfn = Number(BigInt.asUintN(64, record.fields.gva) / PAGE_BYTES);
    this.#context.transitions++;
    const misplaced = judgeFaultAddress(record, task);
    if (misplaced !== null) this.#context.findings.report(record.line, misplaced);
    const faultGfn = task.fault?.gfns[0]?.value ?? gfn;
    const oldSpte = record.fields.old_spte as Spte;
    const entry = this.#entry(faultGfn, oldSpte);
    const racing = this.#context.isRacing(record);
    const finding =
      judgeFastFault(this.#context, record, racing, !this.#context.tdpMmuKnown) ??
      this.#judgeOld(entry, oldSpte, racing);
    if (finding !== null) this.#context.findings.report(record.line, finding, entry);
    if (entry !== null) this.#apply(record, entry, finding !== null, racing);
  }

  /** The lowest entry that the walk reaches; preferably one that shows the value. */
  #entry(gfn: number, oldSpte: Spte): EntryState | null {
    let lowest: EntryState | null = null;
    for (let level = 1; level <= MAX_LEVEL; level++) {
      const entries = entriesOfGfn(this.#context, roundGfn(gfn, level), level);
      const showing = entries.find(
        (entry) => !entry.table.obsolete && explains(this.#context, entry, oldSpte),
      );
      if (showing !== undefined) return showing;
      lowest ??= entries[0] ?? null;
    }
    return lowest;
  }

  /** Whether the trace shows all tables that there are. */
  get #knowsTables(): boolean {
    return this.#context.tdpMmuKnown && !this.#context.treesFromBefore;
  }

  #judgeOld(entry: EntryState | null, oldSpte: Spte, racing: boolean): Finding | null {
    if (entry === null || entry.doubtful || racing || !this.#knowsTables) return null;
    if (explains(this.#context, entry, oldSpte))
      return this.#context.changes.judgeValue(oldSpte, entry.identity.gfn, entry.table.level);
    const detail = `old value ${hex(oldSpte)}, ${lastLeft(entry.line, entry.value!)}`;
    return { rule: "old-value-is-the-last-value", detail, contradicts: entry.line };
  }

  #apply(record: FastFaultRecord, entry: EntryState, wrong: boolean, racing: boolean): void {
    const { fields, line } = record;
    const [oldSpte, newSpte] = [fields.old_spte as Spte, fields.new_spte as Spte];
    this.#context.remember(entry, record, record.name, oldSpte, newSpte);
    if (wrong || (racing && !explains(this.#context, entry, oldSpte))) {
      entry.doubtful = true;
      return;
    }
    const write = BigInt.asUintN(64, fields.error_code & WRITE) !== 0n;
    if (isShadowPresentPte(oldSpte))
      entry.learn(fields.fixed ? this.#context.fastFaults.result(oldSpte, write) : newSpte, line);
  }
}
