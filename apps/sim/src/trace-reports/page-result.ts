import {
  describeSpteChange,
  explainSpte,
  formatSpte,
  type PgLevel,
  type Spte,
  type SpteFormat,
} from "@kvm-age/spte";
import type { PageEvent, PageSpte, TraceIdentity, TraceRecord } from "@kvm-age/trace";
import { collectProvenance } from "../results/provenance.js";
import {
  TRACE_PAGE_SCHEMA_ID,
  type TracePageEvent,
  type TracePageResult,
} from "../results/trace-page-result.js";
import { hex } from "./hex.js";
import { identityFigures } from "./read-figures.js";

const PAGE_BYTES = 4096;

/** A page of a trace: its frame and where it stands in the host. */
export interface TracedPage {
  readonly gfn: number;
  readonly hvas: readonly number[];
}

function changes(
  format: SpteFormat,
  before: Spte,
  after: Spte,
  level: PgLevel | undefined,
): NonNullable<TracePageEvent["spte"]>["changes"] {
  return describeSpteChange(format, before, after, level).map((change) => ({
    ...change,
    before: hex(change.before),
    after: hex(change.after),
  }));
}

function spteFigures(format: SpteFormat, { gfn, level, before, after }: PageSpte): TracePageEvent["spte"] {
  const { kind, states } = explainSpte(format, after, level ?? undefined);
  return {
    gfn: hex(gfn),
    level,
    before: before === null ? null : formatSpte(before),
    after: formatSpte(after),
    kind,
    states: [...states],
    changes: before === null ? [] : changes(format, before, after, level ?? undefined),
  };
}

function eventName(record: TraceRecord): string {
  return record.kind === "note" ? "note" : record.name;
}

/** One event as results carry it. */
export function pageEventFigures(format: SpteFormat, { record, what, spte }: PageEvent): TracePageEvent {
  const { line, timestampNs, comm, pid, cpu } = record;
  return {
    line,
    timestampNs,
    comm,
    pid,
    cpu,
    event: eventName(record),
    what,
    spte: spte === null ? null : spteFigures(format, spte),
  };
}

/** The life of a page as `--json` prints it. */
export function pageResult(
  file: string,
  identity: TraceIdentity,
  { gfn, hvas }: TracedPage,
  events: readonly PageEvent[],
): TracePageResult {
  return {
    schema: TRACE_PAGE_SCHEMA_ID,
    provenance: collectProvenance(),
    file,
    identity: identityFigures(identity),
    gfn: hex(gfn),
    gpa: hex(gfn * PAGE_BYTES),
    hvas: hvas.map(hex),
    events: events.map((event) => pageEventFigures(identity.format, event)),
  };
}
