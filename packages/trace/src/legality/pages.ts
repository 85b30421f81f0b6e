import type { KvmMmuPageFields } from "../schema/kvm-event-fields.js";
import type { TraceRecord } from "../schema/trace-record.js";
import type { CheckContext } from "./check-context.js";
import { hex } from "./findings.js";
import type { GuestWalks } from "./guest-walks.js";
import type { Task } from "./task.js";
import { framesOfEntry, roundGfn, TdpTable } from "./tdp-table.js";

const MIN_ROOT_LEVEL = 4;
const MAX_LEVEL = 5;
const LEVEL_BITS = [1, 2, 4] as const;

/** What tells pages of one gfn apart. */
function keyOf({ gfn, level, quadrant, direct, access }: KvmMmuPageFields): string {
  return `${gfn}/${level}/${quadrant}/${direct}/${access}`;
}

function* misprints(page: KvmMmuPageFields): Generator<KvmMmuPageFields> {
  for (let bit = 0; bit < 40; bit++) {
    const power = 2 ** bit;
    yield { ...page, gfn: Math.floor(page.gfn / power) % 2 === 1 ? page.gfn - power : page.gfn + power };
  }
  for (const bit of LEVEL_BITS) yield { ...page, level: page.level ^ bit };
  for (let access = 0; access < 16; access++) yield { ...page, access };
  yield { ...page, direct: !page.direct };
}

/** Pages of the shadow MMU that cannot be told apart. */
interface PagesInUse {
  count: number;
  /** Line of the last event that showed one. */
  line: number;
}

/** Counts the pages of the shadow MMU that are in use, by what identifies them. */
export class ShadowPages {
  readonly #context: CheckContext;
  readonly #walks: GuestWalks;
  readonly #inUse = new Map<string, PagesInUse>();
  /** Which pages are in use is not known: the trace began later, or a line about a page was wrong. */
  #incomplete = false;

  constructor(context: CheckContext, walks: GuestWalks) {
    this.#context = context;
    this.#walks = walks;
  }

  clear(): void {
    this.#inUse.clear();
    this.#incomplete = true;
  }

  /** `kvm_mmu_get_page`. */
  get(record: TraceRecord, page: KvmMmuPageFields & { readonly created: boolean }, task: Task): void {
    const expected = this.#expected(page, task);
    if (expected !== null && keyOf(expected) !== keyOf(page)) {
      const detail = `a page of level ${page.level} at gfn ${hex(page.gfn)}, where one of level ${expected.level} at gfn ${hex(expected.gfn)} is on the way`;
      this.#context.findings.report(record.line, { rule: "page-is-linked", detail });
      this.#incomplete = true;
    }
    const key = keyOf(expected ?? page);
    const pages = this.#inUse.get(key);
    if (!page.created && pages === undefined) this.#missing(record, page, "is found");
    if (!page.created) return;
    if (pages === undefined) this.#inUse.set(key, { count: 1, line: record.line });
    else [pages.count, pages.line] = [pages.count + 1, record.line];
  }

  /** `kvm_mmu_sync_page` or `kvm_mmu_unsync_page`. */
  use(record: TraceRecord, page: KvmMmuPageFields): void {
    if (!this.#inUse.has(keyOf(page))) this.#missing(record, page, "is used");
  }

  /** `kvm_mmu_prepare_zap_page`. A page that was zapped while it was a root is zapped again when its last user is gone. */
  zap(record: TraceRecord, page: KvmMmuPageFields): void {
    if (page.root > 0 && this.#inUse.has(keyOf(page))) return;
    const key = this.#inUse.has(keyOf(page)) ? keyOf(page) : this.#missing(record, page, "is zapped");
    if (key === null) return;
    const pages = this.#inUse.get(key)!;
    pages.count--;
    if (pages.count === 0) this.#inUse.delete(key);
  }

  /** What the page must be, as far as the fault says: direct pages cover the gfn asked for, others shadow a table of the guest's walk. */
  #expected(page: KvmMmuPageFields, task: Task): KvmMmuPageFields | null {
    const { fault } = task;
    if (fault === null) return null;
    if (!page.direct) return this.#expectedShadowing(page, task);
    if (this.#context.identity.mode === "shadow" || fault.requestLine === 0) return null;
    const [first, last] = [fault.gfns[0]!.value, fault.gfns.at(-1)!.value];
    return first === last ? { ...page, gfn: roundGfn(last, page.level + 1) } : null;
  }

  #expectedShadowing(page: KvmMmuPageFields, task: Task): KvmMmuPageFields | null {
    const level = this.#walks.levelOfTable(task.pid, page.gfn);
    if (level !== null) return { ...page, level };
    const gfn = this.#walks.tableGfn(task.pid, page.level);
    return gfn === null ? null : { ...page, gfn };
  }

  #missing(record: TraceRecord, page: KvmMmuPageFields, verb: string): string | null {
    if (this.#inUse.size === 0 || this.#incomplete) {
      this.#incomplete = true;
      return null;
    }
    let similar: string | null = null;
    for (const other of misprints(page)) if (this.#inUse.has(keyOf(other))) similar ??= keyOf(other);
    const contradicts = similar === null ? null : this.#inUse.get(similar)!.line;
    if (contradicts !== null && this.#context.findings.has(contradicts)) return similar;
    const detail = `a page of level ${page.level} at gfn ${hex(page.gfn)} ${verb}, but none like it is in use`;
    this.#context.findings.report(record.line, { rule: "zapped-page-was-in-use", detail, contradicts });
    // Which of the pages the line was about, and so which ones are left, is not known.
    this.#incomplete = true;
    return similar;
  }
}

/** A page of the TDP MMU that a task creates: it is linked by the next change of the same task, or it is a root. */
export function createTdpPage(
  context: CheckContext,
  record: TraceRecord,
  page: KvmMmuPageFields,
  task: Task,
): void {
  const { gfn } = page;
  const isLevel = page.level >= 1 && page.level <= MAX_LEVEL;
  if (!isLevel || gfn % framesOfEntry(page.level + 1) !== 0) {
    const detail = `a direct page of level ${page.level} at gfn ${hex(gfn)}`;
    context.findings.report(record.line, { rule: "gfn-is-aligned", detail });
  }
  const inFault = task.fault !== null && task.fault.requestLine !== 0;
  const level = isLevel ? page.level : MIN_ROOT_LEVEL;
  const root =
    level >= MIN_ROOT_LEVEL && (isLevel || !inFault)
      ? new TdpTable(0, level, 0, { kind: "empty" }, null)
      : null;
  if (root !== null) {
    context.rootSeen = true;
    root.createdLine = record.line;
    context.tables.addRoot(root);
  }
  task.pendingPage = isLevel || root !== null ? { line: record.line, level, gfn, root } : null;
}
