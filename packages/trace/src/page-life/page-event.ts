import type { PgLevel, Spte } from "@kvm-age/spte";
import type { TraceRecord } from "../schema/trace-record.js";

/** A value that an SPTE on the way to a page has, and the one that it had before if the event shows it. */
export interface PageSpte {
  /** First frame that the entry maps. */
  readonly gfn: number;
  /** Null if the event does not name it and nothing known covers the page. */
  readonly level: PgLevel | null;
  readonly before: Spte | null;
  readonly after: Spte;
}

/** Something that happened to a page. */
export interface PageEvent {
  readonly record: TraceRecord;
  /** What it means for the page. */
  readonly what: string;
  /** The SPTE that it shows; null if none. */
  readonly spte: PageSpte | null;
}
