import { type PageEvent, PageInventory, PageLife, resolvePage } from "@kvm-age/trace";
import type { Command } from "commander";
import type { RunContext } from "../../terminal/run-context.js";
import { keepInput } from "../../trace-reports/kept-input.js";
import { checkHasEvents, type KernelTrace, openKernelTrace } from "../../trace-reports/open-kernel-trace.js";
import { pageResult, type TracedPage } from "../../trace-reports/page-result.js";
import { PageText } from "../../trace-reports/page-text.js";
import { JSON_OPTION, withExamples } from "../help.js";
import { type JsonTarget, tell } from "../report.js";
import type { Session } from "../session.js";
import { checkJsonOutput } from "./check-output.js";
import { sayDamage } from "./say-damage.js";
import {
  addSlotOption,
  addTraceOptions,
  FILE_ARGUMENT,
  kernelTraceOptions,
  type SlotFlags,
  type TraceFlags,
} from "./trace-options.js";

interface PageFlags extends TraceFlags, SlotFlags {
  readonly json?: JsonTarget;
}

interface PageLifeOf {
  readonly trace: KernelTrace;
  readonly page: TracedPage;
  readonly life: PageLife;
}

/** First pass: which frames the trace has, and where they stand; second: what happens to the one that is meant. */
async function findPage(
  file: string,
  shownFile: string,
  name: string,
  flags: PageFlags,
  context: RunContext,
): Promise<PageLifeOf> {
  const options = kernelTraceOptions(flags);
  const first = await openKernelTrace(file, options, context);
  const inventory = new PageInventory(first.identity.format, flags.slot);
  for await (const batch of first.batches) for (const record of batch) inventory.observe(record);
  inventory.finish();
  checkHasEvents(shownFile, first.report());
  const gfn = resolvePage(name, inventory);
  const trace = await openKernelTrace(file, options, context);
  const page = { gfn, hvas: inventory.map.hvasOf(gfn) };
  return { trace, page, life: new PageLife(trace.identity, gfn, inventory.map) };
}

async function lifeEvents(
  { trace, life }: PageLifeOf,
  take: (event: PageEvent) => Promise<void> | void,
): Promise<void> {
  for await (const batch of trace.batches) {
    for (const record of batch) for (const event of life.observe(record)) await take(event);
  }
}

async function showPage(session: Session, file: string, name: string, flags: PageFlags): Promise<void> {
  await checkJsonOutput(flags.json);
  await session.work(async (context) => {
    const kept = await keepInput(file, context.signal);
    try {
      const found = await findPage(kept.path, file, name, flags, { ...context, signal: kept.signal });
      if (flags.json === undefined) await printLife(session, found);
      else await tellLife(session, file, found, flags.json);
      sayDamage(session, found.trace);
    } finally {
      await kept.release();
    }
  });
}

/** Prints events as they come: a page of a long trace may have many. */
async function printLife(session: Session, found: PageLifeOf): Promise<void> {
  const text = new PageText(found.trace.identity, session.style);
  session.print(`${text.head(found.trace.identity, found.page)}\n`);
  await lifeEvents(found, (event) => {
    session.print(text.event(event));
    return session.drained();
  });
  session.print(`\n${text.foot()}`);
}

async function tellLife(session: Session, file: string, found: PageLifeOf, json: JsonTarget): Promise<void> {
  const { identity } = found.trace;
  const events: PageEvent[] = [];
  await lifeEvents(found, (event) => {
    events.push(event);
  });
  const result = pageResult(file, identity, found.page, events);
  const text = new PageText(identity, session.style);
  const words = (): string =>
    [text.head(identity, found.page), ...events.map((event) => text.event(event)), text.foot()].join("");
  await tell(session, { result, failedChecks: [], text: words }, json);
}

/** `kvm-age trace page <file> <page>`: the life of one page. */
export function addPageCommand(trace: Command, session: Session): void {
  const page = trace
    .command("page")
    .description("the life of one guest page: every event, each SPTE value in words, what changed bit by bit")
    .argument(...FILE_ARGUMENT)
    .argument("<page>", "gfn:40003, gpa:0x40003000 or hva:0x7f…, or the hexadecimal digits alone");
  withExamples(page, [
    ["kvm-age trace page trace.txt.gz gfn:40003", "of guest frame 0x40003"],
    [
      "kvm-age trace page trace.txt hva:7f6c43000000 --slot 40000:7f6c43000000:512",
      "of a place in QEMU's memory",
    ],
  ]);
  addSlotOption(addTraceOptions(page)).option(...JSON_OPTION);
  page.action((file: string, name: string, flags: PageFlags) => showPage(session, file, name, flags));
}
