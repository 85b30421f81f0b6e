import { HeatCollector, heatMap, type TimeWindow } from "@kvm-age/trace";
import { type Command, InvalidArgumentError, Option } from "commander";
import { integerOption } from "../../options/integer-option.js";
import { EmptyTimeWindowError } from "../../trace-reports/errors.js";
import { heatmapHtml } from "../../trace-reports/heatmap-html.js";
import { heatmapResult } from "../../trace-reports/heatmap-result.js";
import { heatmapSvg } from "../../trace-reports/heatmap-svg.js";
import { HEATMAP_MARGIN, heatmapText } from "../../trace-reports/heatmap-text.js";
import { noAnswersText } from "../../trace-reports/no-answers-text.js";
import { checkHasEvents, type KernelTrace, openKernelTrace } from "../../trace-reports/open-kernel-trace.js";
import { writeDrawing } from "../../trace-reports/write-drawing.js";
import { JSON_OPTION, withExamples } from "../help.js";
import { type JsonTarget, tell } from "../report.js";
import type { Session } from "../session.js";
import { checkDrawingOutput, checkJsonOutput } from "./check-output.js";
import { sayDamage } from "./say-damage.js";
import {
  addSlotOption,
  addTraceOptions,
  FILE_ARGUMENT,
  kernelTraceOptions,
  type SlotFlags,
  type TraceFlags,
} from "./trace-options.js";

const DEFAULT_ROWS = 32;
const DEFAULT_TERMINAL_COLUMNS = 100;
const LEAST_COLUMNS = 20;
const MOST_CELLS_ASIDE = 512;

interface HeatmapFlags extends TraceFlags, SlotFlags {
  readonly rows: number;
  readonly columns?: number;
  readonly from?: number;
  readonly to?: number;
  readonly svg?: string;
  readonly html?: string;
  readonly json?: JsonTarget;
}

function secondsOption(text: string): number {
  const seconds = /^\d{1,12}(\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(seconds))
    throw new InvalidArgumentError("Allowed: seconds of the trace clock, e.g. 20.366708.");
  return seconds;
}

/** @throws EmptyTimeWindowError when nothing can be in it */
function timeWindow({ from, to }: HeatmapFlags): TimeWindow {
  const window = { fromNs: (from ?? 0) * 1e9, toNs: to === undefined ? Number.POSITIVE_INFINITY : to * 1e9 };
  if (window.fromNs >= window.toNs) throw new EmptyTimeWindowError(from ?? 0, to!);
  return window;
}

/** Columns that fit beside the labels of the rows. */
function defaultColumns(): number {
  const terminal = process.stdout.isTTY ? process.stdout.columns : DEFAULT_TERMINAL_COLUMNS;
  return Math.max(LEAST_COLUMNS, terminal - HEATMAP_MARGIN);
}

interface Collected {
  readonly trace: KernelTrace;
  readonly collector: HeatCollector;
}

async function collect(session: Session, file: string, flags: HeatmapFlags): Promise<Collected> {
  const window = timeWindow(flags);
  return session.work(async (context) => {
    const trace = await openKernelTrace(file, kernelTraceOptions(flags), context);
    const collector = new HeatCollector(trace.identity, window, flags.slot);
    for await (const batch of trace.batches) for (const record of batch) collector.observe(record);
    collector.finish();
    return { trace, collector };
  });
}

async function draw(session: Session, file: string, flags: HeatmapFlags): Promise<void> {
  await checkJsonOutput(flags.json);
  await checkDrawingOutput(file, flags.svg);
  await checkDrawingOutput(file, flags.html);
  const { trace, collector } = await collect(session, file, flags);
  checkHasEvents(file, trace.report());
  sayDamage(session, trace);
  const { identity } = trace;
  const size = { rows: flags.rows, columns: flags.columns ?? defaultColumns() };
  const map = heatMap(collector.grid, size);
  if (flags.svg !== undefined) await writeDrawing(flags.svg, heatmapSvg(map, identity, file));
  if (flags.html !== undefined) await writeDrawing(flags.html, heatmapHtml(map, identity, file));
  const result = heatmapResult(file, identity, collector.calls, map);
  const text = (): string =>
    map.rows.length === 0
      ? noAnswersText(collector.calls, identity.tdpMmu)
      : heatmapText(map, identity, session.style);
  await tell(session, { result, failedChecks: [], text }, flags.json);
}

function addHeatmapOptions(command: Command): Command {
  const cells = integerOption(1, MOST_CELLS_ASIDE);
  return addSlotOption(addTraceOptions(command))
    .addOption(
      new Option("--rows <n>", "rows of guest frames, at most").argParser(cells).default(DEFAULT_ROWS),
    )
    .addOption(new Option("--columns <n>", "columns of time, at most (default: what fits)").argParser(cells))
    .addOption(
      new Option("--from <seconds>", "leave out what came before, by the trace clock").argParser(
        secondsOption,
      ),
    )
    .addOption(new Option("--to <seconds>", "leave out what came after").argParser(secondsOption))
    .option("--svg <file>", "also as a drawing")
    .option("--html <file>", "also as a page with the drawing")
    .option(...JSON_OPTION);
}

/** `kvm-age trace heatmap <file>`: which guest memory was found young, and when. */
export function addHeatmapCommand(trace: Command, session: Session): void {
  const heatmap = trace
    .command("heatmap")
    .description("which guest frames were found young, and when: guest frame × time")
    .argument(...FILE_ARGUMENT);
  withExamples(heatmap, [
    ["kvm-age trace heatmap trace.txt.gz", "in the terminal"],
    ["kvm-age trace heatmap trace.txt.gz --rows 128 --columns 400 --html heat.html", "as a page"],
  ]);
  addHeatmapOptions(heatmap);
  heatmap.action((file: string, flags: HeatmapFlags) => draw(session, file, flags));
}
