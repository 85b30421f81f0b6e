import {
  explainSpte,
  formatSpte,
  isShadowPresentPte,
  type Spte,
  type SpteFormat,
  spteToPfn,
} from "@kvm-age/spte";
import type { PageEvent, PageSpte, TraceIdentity } from "@kvm-age/trace";
import type { TracePageEvent } from "../results/trace-page-result.js";
import { formatCount, formatDuration } from "../terminal/format-quantity.js";
import { paint, type Style } from "../terminal/style.js";
import { hex } from "./hex.js";
import { identityText } from "./identity-text.js";
import { pageEventFigures, type TracedPage } from "./page-result.js";

const PAGE_BYTES = 4096;
const INDENT = " ".repeat(14);

type Changes = NonNullable<TracePageEvent["spte"]>["changes"];

function widest(texts: readonly string[]): number {
  return Math.max(0, ...texts.map((text) => text.length));
}

function changeLines(changes: Changes): string[] {
  const bits = widest(changes.map((change) => change.bits));
  const names = widest(changes.map((change) => change.name));
  return changes.map(({ bits: at, name, before, after, meaning }) => {
    const values = `${before} -> ${after}`;
    return `${INDENT}  ${at.padStart(bits)}  ${name.padEnd(names)}  ${values}  ${meaning}`;
  });
}

/** A value in words on one line: its kind, where it points to, and what it is going through. */
function valueLine(format: SpteFormat, { after, level }: PageSpte): string {
  const { kind, states } = explainSpte(format, after, level ?? undefined);
  const target = isShadowPresentPte(after as Spte) ? [`pfn ${hex(spteToPfn(format, after))}`] : [];
  return `${INDENT}${formatSpte(after)}: ${[kind, ...target, ...states].join(", ")}`;
}

/** Fields that differ, if the two values are read by the same fields; their kinds stand on the line above otherwise. */
function fieldChanges(changes: Changes): Changes {
  return changes.filter(({ name }) => name !== "kind");
}

function spteLines(format: SpteFormat, event: PageEvent): string[] {
  const { spte } = event;
  if (spte === null) return [];
  const changes = fieldChanges(pageEventFigures(format, event).spte!.changes);
  const before = spte.before === null ? [] : [`${INDENT}${formatSpte(spte.before)} ->`];
  return [...before, valueLine(format, spte), ...changeLines(changes)];
}

/** Text of the life of a page, event by event. */
export class PageText {
  readonly #format: SpteFormat;
  readonly #style: Style;
  #lastNs: number | null = null;
  #events = 0;

  constructor({ format }: TraceIdentity, style: Style) {
    this.#format = format;
    this.#style = style;
  }

  /** The lines before the first event. */
  head(identity: TraceIdentity, { gfn, hvas }: TracedPage): string {
    const places = hvas.length === 0 ? "hva not known" : `hva ${hvas.map(hex).join(", ")}`;
    const page = `gfn ${hex(gfn)}, gpa ${hex(gfn * PAGE_BYTES)}, ${places}`;
    return `${paint(this.#style, "bold", page)}\n${identityText(identity)}\n`;
  }

  /** The lines of one event. */
  event(event: PageEvent): string {
    const { record, what } = event;
    const since =
      this.#lastNs === null ? "" : `+${formatDuration((record.timestampNs - this.#lastNs) * 1e-9)}`;
    this.#lastNs = record.timestampNs;
    this.#events++;
    const time = (record.timestampNs * 1e-9).toFixed(6).padStart(12);
    const task = `${record.comm}-${record.pid} [${String(record.cpu).padStart(3, "0")}]`;
    const title = `${time}  ${since.padEnd(10)}  ${paint(this.#style, "bold", what)}  (line ${record.line}, ${task})`;
    return `${[title, ...spteLines(this.#format, event)].join("\n")}\n`;
  }

  /** The lines after the last event. */
  foot(): string {
    return `${formatCount(this.#events)} ${this.#events === 1 ? "event" : "events"}\n`;
  }
}
