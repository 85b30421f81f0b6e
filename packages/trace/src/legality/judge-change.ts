import {
  checkSpteWritableInvariants,
  getMmioSpteGfn,
  isAccessedSpte,
  isShadowPresentPte,
  makeNonleafSpte,
  markSpteForAccessTrack,
  type Spte,
  type SpteFormat,
  spteAdEnabled,
  spteToPfn,
} from "@kvm-age/spte";
import { type Finding, hex } from "./findings.js";
import type { LeafFlags } from "./leaf-flags.js";
import { flagsOf } from "./leaf-flags.js";
import { framesOfEntry } from "./tdp-table.js";
import { type ValueKind, valueKind } from "./value-kind.js";

/** What the task was doing when it changed an entry, as far as its events tell. */
export type ChangeOperation = "fault" | "prefetch" | "aging" | "teardown" | "other";

/** A change of one entry. */
export interface EntryChange {
  readonly gfn: number;
  readonly level: number;
  readonly oldSpte: Spte;
  readonly newSpte: Spte;
  readonly operation: ChangeOperation;
  /** Access bits that the fault asked for; null if the kernel does not say. */
  readonly access: number | null;
  /** Whether the trace shows calls of aging at all. */
  readonly agingIsTraced: boolean;
  /** Whether there may be pages that shadow a nested guest's tables, so that the frames of those tables are write-protected. */
  readonly mayBeShadowed: boolean;
}

const W = 0x2n;

/** Judges changes by the format of the entries alone, without the history of the entry. */
export class ChangeJudge {
  readonly #format: SpteFormat;
  readonly #flags: LeafFlags;

  constructor(format: SpteFormat, flags: LeafFlags) {
    this.#format = format;
    this.#flags = flags;
  }

  /** What is wrong with the value alone; null if some history leads to it. */
  judgeValue(spte: Spte, gfn: number, level: number): Finding | null {
    const kind = valueKind(this.#format, spte, level);
    if (kind === "leaf") return this.#judgeLeaf(spte, level);
    if (kind === "table") return this.#judgeTable(spte, level);
    if (kind === "mmio" && getMmioSpteGfn(this.#format, spte) !== gfn)
      return { rule: "mmio-entry-names-its-gfn", detail: `${hex(spte)} names another gfn than ${hex(gfn)}` };
    if (kind !== "unknown") return null;
    return {
      rule: "entry-value-is-a-kernel-value",
      detail: `${hex(spte)} is neither present nor a value of an empty entry`,
    };
  }

  /** What is wrong with the change; null if some operation of the kernel makes it. */
  judge(change: EntryChange): Finding | null {
    const { oldSpte, newSpte, level, gfn } = change;
    const [before, after] = [
      valueKind(this.#format, oldSpte, level),
      valueKind(this.#format, newSpte, level),
    ];
    const wrongValue = this.judgeValue(newSpte, gfn, level) ?? this.judgeValue(oldSpte, gfn, level);
    if (wrongValue !== null) return wrongValue;
    if (before === "frozen")
      return { rule: "frozen-is-final", detail: `${hex(oldSpte)} becomes ${hex(newSpte)}` };
    if (oldSpte === newSpte) return this.#judgeNoChange(change);
    if (after === "frozen" || change.operation === "teardown") return this.#judgeFreezing(change, after);
    return this.#judgeKinds(change, before, after);
  }

  #judgeLeaf(spte: Spte, level: number): Finding | null {
    if (!checkSpteWritableInvariants(this.#format, spte))
      return { rule: "writable-invariants", detail: hex(spte) };
    if (level > 3)
      return { rule: "entry-value-is-a-kernel-value", detail: `${hex(spte)} is a leaf of level ${level}` };
    if (spteToPfn(this.#format, spte) % framesOfEntry(level) !== 0)
      return { rule: "reserved-bits", detail: `${hex(spte)}: the frame is not aligned for level ${level}` };
    if (this.#flags.isPossible(spte, level)) return null;
    return {
      rule: "entry-value-is-a-kernel-value",
      detail: `no operation makes a leaf with the flags of ${hex(spte)}`,
    };
  }

  #judgeTable(spte: Spte, level: number): Finding | null {
    const pa = BigInt(spteToPfn(this.#format, spte)) << 12n;
    const expected = makeNonleafSpte(this.#format, pa, !spteAdEnabled(this.#format, spte));
    const accessed = spteAdEnabled(this.#format, spte) ? this.#format.shadowAccessedMask : 0n;
    const found = BigInt.asUintN(64, spte | accessed);
    const typeIsRight = spteAdEnabled(this.#format, spte) === this.#format.kvmAdEnabled;
    if (level > 1 && found === expected && typeIsRight) return null;
    return { rule: "nonleaf-is-made-by-the-kernel", detail: `${hex(spte)}, made would be ${hex(expected)}` };
  }

  #judgeNoChange({ oldSpte, operation }: EntryChange): Finding | null {
    const fetchAnd = this.#format.rules.agingUpdate === "fetch-and" && operation === "aging";
    if (fetchAnd && !isAccessedSpte(this.#format, oldSpte)) return null;
    return { rule: "changed-means-different", detail: `both values are ${hex(oldSpte)}` };
  }

  #judgeFreezing({ newSpte, operation }: EntryChange, after: ValueKind): Finding | null {
    if (operation === "teardown" && after === "frozen") return null;
    return {
      rule: "frozen-only-in-teardown",
      detail: `${hex(newSpte)} ${operation === "teardown" ? "is not the frozen value" : "outside the teardown of a table"}`,
    };
  }

  #judgeKinds(change: EntryChange, before: ValueKind, after: ValueKind): Finding | null {
    const { oldSpte, newSpte } = change;
    const illegal = (rule: Finding["rule"]): Finding => ({
      rule,
      detail: `${hex(oldSpte)} becomes ${hex(newSpte)}`,
    });
    if (before === "leaf" && after === "leaf") return this.#judgeLeafToLeaf(change);
    if (before === "table" && after === "table") return illegal("table-follows-empty-entry");
    if (after === "mmio" && isShadowPresentPte(oldSpte)) return illegal("entry-value-is-a-kernel-value");
    if (before === "nonpresent" && after === "nonpresent") return illegal("changed-means-different");
    if (after === "leaf" && before !== "table") return this.#judgeMade(change);
    if (change.operation === "aging") return illegal("aging-clears-accessed-only");
    return null;
  }

  /** A new leaf has the flags that a fault gives it. */
  #judgeMade({ newSpte, level, access, operation }: EntryChange): Finding | null {
    const prefetch = operation === "fault" ? false : null;
    if (this.#flags.made({ level, access, prefetch }).has(flagsOf(this.#format, newSpte))) return null;
    return { rule: "leaf-is-made-by-the-kernel", detail: `a fault does not make ${hex(newSpte)}` };
  }

  #judgeLeafToLeaf(change: EntryChange): Finding | null {
    const { oldSpte, newSpte, operation } = change;
    const detail = `${hex(oldSpte)} becomes ${hex(newSpte)}`;
    const addresses = BigInt.asUintN(64, (oldSpte ^ newSpte) & this.#format.spteBaseAddrMask);
    if (addresses !== 0n) return { rule: "no-pfn-change-in-place", detail };
    if (operation === "aging") return this.#judgeAging(oldSpte, newSpte);
    if (newSpte === markSpteForAccessTrack(this.#format, oldSpte)) {
      return change.agingIsTraced ? { rule: "only-aging-clears-accessed", detail } : null;
    }
    if (this.#losesWriteOrDirty(change)) return null;
    if (operation !== "other" && this.#judgeMade(change) === null) return null;
    return { rule: "leaf-change-keeps-the-rest", detail };
  }

  #judgeAging(oldSpte: Spte, newSpte: Spte): Finding | null {
    const detail = `${hex(oldSpte)} becomes ${hex(newSpte)}`;
    const aged = markSpteForAccessTrack(this.#format, oldSpte);
    if (aged !== newSpte)
      return { rule: "aging-clears-accessed-only", detail: `${detail}, aged would be ${hex(aged)}` };
    const accessedMask = this.#format.shadowAccessedMask;
    if (accessedMask !== 0n && !isAccessedSpte(this.#format, oldSpte))
      return { rule: "aged-was-accessed", detail };
    return null;
  }

  #losesWriteOrDirty({ oldSpte, newSpte, mayBeShadowed }: EntryChange): boolean {
    const { shadowMmuWritableMask, shadowDirtyMask, mode } = this.#format;
    const lost = BigInt.asUintN(64, oldSpte & ~newSpte);
    if (BigInt.asUintN(64, newSpte & ~oldSpte) !== 0n) return false;
    if (lost === W) return true;
    if (lost === BigInt.asUintN(64, (W & oldSpte) | shadowMmuWritableMask)) return mayBeShadowed;
    return mode === "ept" && lost === shadowDirtyMask && spteAdEnabled(this.#format, oldSpte);
  }
}
