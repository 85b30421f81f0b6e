import {
  isAccessedSpte,
  isAccessTrackSpte,
  isLastSpte,
  isShadowPresentPte,
  kvmPagesPerHpage,
  type PgLevel,
  type Spte,
  type SpteFormat,
  toPgLevel,
} from "@kvm-age/spte";
import type { KvmEventFields } from "../schema/kvm-event-fields.js";
import type { TraceRecord } from "../schema/trace-record.js";
import type { AgingCall } from "../state/aging-call.js";
import { entryLevel } from "../state/entry-level.js";
import type { GuestMemoryMap } from "../state/guest-memory-map.js";
import { type DurationFigures, Durations } from "./durations.js";

/**
 * How long after a page was aged it was used again. A fault on an aged page gives the moment. Where the CPU sets Accessed by itself there is
 * no event, and the trace only shows that the use came between two looks at the SPTE: not before `earliest`, not after `latest`.
 */
export interface UseAfterAgingSummary {
  /** Uses whose moment is known: a fault. */
  readonly exact: DurationFigures;
  /** Uses whose moment lies between two looks: time from aging to the last look that found the page unused. */
  readonly earliest: DurationFigures;
  /** The same uses: time from aging to the first look that found the page used. */
  readonly latest: DurationFigures;
  /** Aged pages that were zapped, split or collapsed before anything showed a use. */
  readonly goneUnused: number;
  /** Aged pages of which the rest of the trace shows no use. */
  readonly unusedAtEnd: number;
}

interface AgedPage {
  readonly agedNs: number;
  /** Last time at which the page was known to be unused since. */
  unusedNs: number;
}

const LEAF_LEVELS: readonly PgLevel[] = [1, 2, 3];
const PAGE_BYTES = 4096;
type SpteChange = KvmEventFields["kvm_tdp_mmu_spte_changed"];

/** Measures the time from aging to use. Memory grows with the number of pages that are aged and not used yet. */
export class UseAfterAging {
  readonly #format: SpteFormat;
  readonly #tdpMmu: boolean;
  readonly #map: GuestMemoryMap;
  /** Aged pages by first gfn, for each address space and level. */
  readonly #aged = new Map<number, Map<number, AgedPage>>();
  readonly #exact = new Durations();
  readonly #earliest = new Durations();
  readonly #latest = new Durations();
  #goneUnused = 0;

  constructor(format: SpteFormat, tdpMmu: boolean, map: GuestMemoryMap) {
    this.#format = format;
    this.#tdpMmu = tdpMmu;
    this.#map = map;
  }

  /** Takes a record that is no part of an aging call. */
  observe(record: TraceRecord): void {
    if (record.kind !== "kvm") return;
    if (record.name === "kvm_tdp_mmu_spte_changed") this.#changed(record.fields, record.timestampNs);
    if (record.name === "fast_page_fault") this.#fastFault(record.fields, record.timestampNs);
  }

  /** Takes an aging call when it has ended. */
  observeCall(call: AgingCall): void {
    const changesTell = this.#tdpMmu && call.kind === "age" && (call.young !== true || call.aged.length > 0);
    for (const [start, end, young] of this.#askedRanges(call)) {
      if (!this.#tdpMmu && call.kind === "age" && young === true)
        this.#pageAged(start, end, call.timestampNs);
      if (changesTell || young === false) this.#unusedAt(start, end, call);
    }
  }

  get summary(): UseAfterAgingSummary {
    let unusedAtEnd = 0;
    for (const pages of this.#aged.values()) unusedAtEnd += pages.size;
    return {
      exact: this.#exact.figures,
      earliest: this.#earliest.figures,
      latest: this.#latest.figures,
      goneUnused: this.#goneUnused,
      unusedAtEnd,
    };
  }

  #pages(asId: number, level: number): Map<number, AgedPage> {
    const key = asId * 8 + level;
    const pages = this.#aged.get(key) ?? new Map<number, AgedPage>();
    this.#aged.set(key, pages);
    return pages;
  }

  /** Guest frames that a call asked about. Without probes they follow from the host-virtual range. */
  #askedRanges(call: AgingCall): readonly (readonly [start: number, end: number, young: boolean | null])[] {
    if (call.gfnRanges.length > 0) return call.gfnRanges.map(({ start, end, young }) => [start, end, young]);
    if (!this.#tdpMmu || call.kind === "test") return [];
    const pages = Math.ceil((call.end - call.start) / PAGE_BYTES);
    const gfns = this.#map.gfnsOf(call.start);
    return gfns.map((gfn) => [gfn, gfn + pages, null]);
  }

  /**
   * A look found the pages unused, those excepted that the call aged just now: the TDP MMU shows every SPTE that it ages. A call that was
   * young and shows none has lost a race, and does not count as a look.
   */
  #unusedAt(start: number, end: number, { timestampNs, aged }: AgingCall): void {
    const agedNow = new Set(aged.map(({ asId, gfn, level }) => `${asId} ${level} ${gfn}`));
    for (const [key, pages] of this.#aged) {
      const [asId, level] = [Math.floor(key / 8), toPgLevel(key % 8)];
      const step = kvmPagesPerHpage(level);
      for (const gfn of agedIn(pages, start, end, step)) {
        if (!agedNow.has(`${asId} ${level} ${gfn}`)) pages.get(gfn)!.unusedNs = timestampNs;
      }
    }
  }

  /** The shadow MMU shows no SPTEs when it ages: a young answer about exactly one page stands for them. */
  #pageAged(start: number, end: number, nowNs: number): void {
    const level = LEAF_LEVELS.find((candidate) => kvmPagesPerHpage(candidate) === end - start);
    if (level === undefined) return;
    this.#usedBefore(this.#pages(0, level), start, nowNs);
    this.#pages(0, level).set(start, { agedNs: nowNs, unusedNs: nowNs });
  }

  /** Something found an aged page used: it was, at some time since the last look. */
  #usedBefore(pages: Map<number, AgedPage>, gfn: number, nowNs: number): void {
    const page = pages.get(gfn);
    if (page === undefined) return;
    pages.delete(gfn);
    this.#earliest.record(page.unusedNs - page.agedNs);
    this.#latest.record(nowNs - page.agedNs);
  }

  #isUnused(spte: Spte): boolean {
    return !isAccessedSpte(this.#format, spte) || isAccessTrackSpte(this.#format, spte);
  }

  #changed({ as_id, gfn, level, old_spte, new_spte }: SpteChange, nowNs: number): void {
    const pgLevel = entryLevel(level);
    const [before, after] = [old_spte as Spte, new_spte as Spte];
    if (pgLevel === null || !isShadowPresentPte(before) || !isLastSpte(before, pgLevel)) return;
    const pages = this.#pages(as_id, pgLevel);
    const staysLeaf = isShadowPresentPte(after) && isLastSpte(after, pgLevel);
    if (!this.#isUnused(before)) this.#usedBefore(pages, gfn, nowNs);
    else if (!staysLeaf && pages.delete(gfn)) this.#goneUnused++;
    const becomesUnused = staysLeaf && !this.#isUnused(before) && this.#isUnused(after);
    if (becomesUnused) pages.set(gfn, { agedNs: nowNs, unusedNs: nowNs });
  }

  /** A fault on an aged page is a use of it, unless its SPTE shows that the page had been used before. */
  #fastFault({ gva, old_spte, fixed }: KvmEventFields["fast_page_fault"], nowNs: number): void {
    const before = old_spte as Spte;
    if (!fixed || this.#format.mode === "shadow" || !isShadowPresentPte(before)) return;
    const gfn = Number(BigInt.asUintN(64, gva) >> 12n);
    for (const [key, pages] of this.#aged) {
      const first = gfn - (gfn % kvmPagesPerHpage(toPgLevel(key % 8)));
      const page = pages.get(first);
      if (page === undefined) continue;
      if (this.#isUnused(before)) {
        pages.delete(first);
        this.#exact.record(nowNs - page.agedNs);
      } else this.#usedBefore(pages, first, nowNs);
      return;
    }
  }
}

/** Aged pages that lie in a range as a whole, found by way of whichever of both is smaller: a range may be as large as the address space. */
function* agedIn(
  pages: ReadonlyMap<number, AgedPage>,
  start: number,
  end: number,
  step: number,
): Generator<number> {
  if (pages.size < (end - start) / step) {
    for (const gfn of pages.keys()) if (gfn >= start && gfn + step <= end) yield gfn;
    return;
  }
  for (let gfn = Math.ceil(start / step) * step; gfn + step <= end; gfn += step)
    if (pages.has(gfn)) yield gfn;
}
