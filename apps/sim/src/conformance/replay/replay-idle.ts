import { type AgevmNote, decimal, hexadecimal } from "../input/agevm-note.js";
import { type Operation, probesOf } from "../input/operation.js";
import type { ReplayContext } from "./replay-context.js";

/**
 * The host's idle flags (`/sys/kernel/mm/page_idle/bitmap`), as far as the notifier's calls show them: a page that is marked has its
 * Accessed bits cleared first, and one whose mark is read is idle if nobody has used it since.
 */
export class IdleReplay {
  private readonly idle = new Set<number>();
  private readonly usedByHost = new Set<number>();
  private readonly pfns = new Map<number, number>();
  /** Pages aged since the last note: what a following `idle_set` marked. */
  private agedSince = new Set<number>();

  constructor(private readonly context: ReplayContext) {}

  /** A fault found a page behind a gfn: another one than before starts without a mark. */
  pageFound(gfn: number, pfn: number): void {
    if (this.pfns.get(gfn) !== pfn) this.idle.delete(gfn);
    this.pfns.set(gfn, pfn);
  }

  /** An aging call gave its answer. */
  aged(operation: Operation, young: boolean): void {
    for (const probe of probesOf(operation, "age_gfn")) {
      for (let gfn = Number(probe.args.start!); gfn < Number(probe.args.end!); gfn++) {
        if (young || this.usedByHost.has(gfn)) this.idle.delete(gfn);
        this.usedByHost.delete(gfn);
        this.agedSince.add(gfn);
      }
    }
  }

  /** `idle_set first= count= wrote=`: what was aged for it is idle now. */
  marked(): void {
    for (const gfn of this.agedSince) this.idle.add(gfn);
    this.agedSince = new Set();
  }

  /** `idle_get page= gfn= pfn= idle=`. */
  read(note: AgevmNote, line: number): void {
    if (note.values.get("pfn") === "0") return;
    const gfn = hexadecimal(note, "gfn");
    this.context.compareValue(
      "idle",
      line,
      `page ${gfn.toString(16)} is idle`,
      String(decimal(note, "idle")),
      this.idle.has(gfn) ? "1" : "0",
    );
  }

  /** A pass over the marks is over. */
  passOver(): void {
    this.agedSince = new Set();
  }

  /** The owner reads or writes its own pages. */
  hostUsed(gfns: readonly number[]): void {
    for (const gfn of gfns) this.usedByHost.add(gfn);
  }
}
