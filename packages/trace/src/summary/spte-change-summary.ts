import type { Spte, SpteFormat } from "@kvm-age/spte";
import type { TraceRecord } from "../schema/trace-record.js";
import { entryLevel } from "../state/entry-level.js";
import { SPTE_CHANGE_WORDS, type SpteChangeKind, spteChangeKind } from "../state/spte-change-kind.js";
import { Tally } from "./tally.js";
import { ZAP_CAUSES, type ZapCause, ZapCauses } from "./zap-causes.js";

/** Changes of one kind by level of the entry: index 0 is level 1, index 4 level 5. */
export interface SpteChangeRow {
  readonly kind: SpteChangeKind;
  readonly byLevel: readonly [number, number, number, number, number];
}

/** Leaves zapped for one reason, by level: index 0 is 4 KiB, 1 is 2 MiB, 2 is 1 GiB. */
export interface ZapRow {
  readonly cause: ZapCause;
  readonly byLevel: readonly [number, number, number];
}

/** What a trace shows of changes to SPTEs of the TDP MMU (`kvm_tdp_mmu_spte_changed`). */
export interface SpteChangeSummary {
  readonly changes: readonly SpteChangeRow[];
  readonly zaps: readonly ZapRow[];
}

/** Counts changes of SPTEs. */
export class SpteChangeCollector {
  readonly #format: SpteFormat;
  readonly #causes = new ZapCauses();
  readonly #changes = new Tally<string>();
  readonly #zaps = new Tally<string>();

  constructor(format: SpteFormat) {
    this.#format = format;
  }

  observe(record: TraceRecord): void {
    this.#causes.observe(record);
    if (record.kind !== "kvm" || record.name !== "kvm_tdp_mmu_spte_changed") return;
    const { old_spte, new_spte } = record.fields;
    const level = entryLevel(record.fields.level);
    if (level === null) return;
    const kind = spteChangeKind(this.#format, old_spte as Spte, new_spte as Spte, level);
    this.#changes.add(`${kind} ${level}`);
    if (kind === "zap") this.#zaps.add(`${this.#causes.of(record.pid)} ${level}`);
  }

  get summary(): SpteChangeSummary {
    const kinds = Object.keys(SPTE_CHANGE_WORDS) as SpteChangeKind[];
    const causes = Object.keys(ZAP_CAUSES) as ZapCause[];
    const sum = (row: { readonly byLevel: readonly number[] }): number =>
      row.byLevel.reduce((total, count) => total + count, 0);
    const at = (tally: Tally<string>, name: string, level: number): number => tally.get(`${name} ${level}`);
    const changes = kinds.map((kind): SpteChangeRow => {
      const count = (level: number): number => at(this.#changes, kind, level);
      return { kind, byLevel: [count(1), count(2), count(3), count(4), count(5)] };
    });
    const zaps = causes.map((cause): ZapRow => {
      const count = (level: number): number => at(this.#zaps, cause, level);
      return { cause, byLevel: [count(1), count(2), count(3)] };
    });
    return {
      changes: changes.filter((row) => sum(row) > 0),
      zaps: zaps.filter((row) => sum(row) > 0),
    };
  }
}
