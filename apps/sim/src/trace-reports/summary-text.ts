import { FAULT_OUTCOMES, SPTE_CHANGE_WORDS, ZAP_CAUSES } from "@kvm-age/trace";
import type { TraceSummaryResult } from "../results/trace-summary-result.js";
import { joinBlocks, valueTable } from "../scenarios/machine-tables.js";
import { formatBytes, formatCount, formatDuration } from "../terminal/format-quantity.js";
import { renderTable } from "../terminal/render-table.js";
import { paint, type Style } from "../terminal/style.js";
import { identityText } from "./identity-text.js";

const MOST_ROWS = 20;
const NS = 1e-9;

type Durations = TraceSummaryResult["useAfterAging"]["exact"];
type Rows = readonly (readonly string[])[];

/** A table under a title; nothing without rows. Of many rows the first 20 are shown, and how many there are more. */
function section(
  title: string,
  head: readonly string[],
  rows: Rows,
  style: Style,
  leftColumns = [0],
): string {
  if (rows.length === 0) return "";
  const shown = rows.slice(0, MOST_ROWS);
  const more =
    rows.length > MOST_ROWS ? `\n… and ${formatCount(rows.length - MOST_ROWS)} more rows: see --json` : "";
  return `${paint(style, "bold", title)}\n${renderTable({ head, rows: shown, leftColumns }, style)}${more}`;
}

function counts(values: readonly number[]): string[] {
  return values.map((value) => (value === 0 ? "-" : formatCount(value)));
}

function headRows({ read, span, mappedAtEnd, memory }: TraceSummaryResult): (readonly [string, string])[] {
  const rows: (readonly [string, string])[] = [
    ["file", read.complete ? read.file : `${read.file} (not all of it)`],
    ["lines", `${formatCount(read.lines)}, of which ${formatCount(read.damagedLines)} could not be read`],
    ["records", formatCount(read.records)],
  ];
  if (read.lostEvents > 0) rows.push(["lost, says the trace", `${formatCount(read.lostEvents)} events`]);
  if (span !== null) {
    const [first, last] = [span.firstNs * NS, span.lastNs * NS];
    rows.push(["time", `${first.toFixed(6)} s to ${last.toFixed(6)} s: ${formatDuration(last - first)}`]);
  }
  if (mappedAtEnd !== null) {
    const [small, huge, gigantic] = mappedAtEnd.map(formatCount);
    rows.push([
      "mapped at the end",
      `${small} × 4 KiB, ${huge} × 2 MiB, ${gigantic} × 1 GiB that the trace shows`,
    ]);
  }
  for (const { gfn, hva, pages } of memory.slice(0, MOST_ROWS)) {
    rows.push(["guest memory", `gfn ${gfn} at hva ${hva}, ${formatCount(pages)} pages`]);
  }
  return rows;
}

function eventSection({ read }: TraceSummaryResult, style: Style): string {
  const rows = read.events.map(({ name, count, kind }) => [
    name,
    formatCount(count),
    kind === "kvm" ? "" : kind,
  ]);
  return section("Events", ["event", "count", ""], rows, style, [0, 2]);
}

function taskSection({ tasks, vcpus }: TraceSummaryResult, style: Style): string {
  const rows = tasks.map(({ comm, tasks: number, events }) => [
    comm,
    formatCount(number),
    formatCount(events),
  ]);
  const vcpuRows = vcpus.map(({ vcpu, pids, faults }) => [String(vcpu), pids.join(" "), formatCount(faults)]);
  const several = vcpus.some(({ pids }) => pids.length > 1)
    ? "\nA vCPU number with several tasks means several VMs, or a vCPU that moved between threads: events do not name the VM."
    : "";
  return joinBlocks([
    section("Tasks", ["name", "tasks", "events of KVM"], rows, style),
    `${section("vCPUs", ["vCPU", "task ids", "guest faults"], vcpuRows, style, [0, 1])}${several}`,
  ]);
}

function agingSection({ aging }: TraceSummaryResult, style: Style): string {
  const rows = aging.rows.map(({ kind, comm, size, calls, young, old, unknown, agedSptes }) => [
    kind,
    comm,
    size,
    ...counts([calls, young, old, unknown, agedSptes]),
  ]);
  const head = ["kind", "by", "range", "calls", "young", "old", "not shown", "SPTEs aged"];
  const table = section("Aging calls", head, rows, style, [0, 1, 2]);
  if (table === "") return "";
  const { returnProbe, spteChanges, nothing } = aging.answeredBy;
  const basis = [
    [returnProbe, "by a return probe"],
    [spteChanges, "by SPTE changes, which only show that memory was young"],
    [nothing, "not at all: old, not mapped, or an MMU that shows no changes"],
  ] as const;
  const lines = basis.filter(([count]) => count > 0).map(([count, how]) => `  ${formatCount(count)} ${how}`);
  return `${table}\nAnswers are shown\n${lines.join("\n")}`;
}

function durationRow(name: string, { count, meanNs, p50Ns, p90Ns, p99Ns, maxNs }: Durations): string[] {
  const times = [meanNs, p50Ns, p90Ns, p99Ns, maxNs].map((ns) => formatDuration(ns * NS));
  return [name, formatCount(count), ...times];
}

function timeSection({ aging, useAfterAging }: TraceSummaryResult, style: Style): string {
  const rows = [
    ["an aging call", aging.ageDuration],
    ["a testing call", aging.testDuration],
    ["from aging to the next use, by a fault", useAfterAging.exact],
    ["from aging to the next use, at least", useAfterAging.earliest],
    ["from aging to the next use, at most", useAfterAging.latest],
  ] as const;
  const shown = rows
    .filter(([, { count }]) => count > 0)
    .map(([name, figures]) => durationRow(name, figures));
  const table = section("Times", ["time", "count", "mean", "p50", "p90", "p99", "max"], shown, style);
  const { goneUnused, unusedAtEnd } = useAfterAging;
  const unused =
    goneUnused + unusedAtEnd === 0
      ? ""
      : `${formatCount(goneUnused)} aged pages went away before a use was seen; of ${formatCount(unusedAtEnd)} none was seen by the end`;
  return [table, unused].filter((text) => text !== "").join("\n");
}

function faultSection({ faults }: TraceSummaryResult, style: Style): string {
  const rows = faults.rows.map(({ outcome, read, write, fetch }) => [
    FAULT_OUTCOMES[outcome],
    ...counts([read, write, fetch, read + write + fetch]),
  ]);
  const table = section("Guest faults", ["outcome", "read", "write", "fetch", "all"], rows, style);
  if (table === "") return "";
  const notes = [
    [faults.inGuestWalk, "of them met by the CPU while it walked the guest's page tables"],
    [faults.fastNotPossible, "went to the slow path after the fast one was tried"],
    [faults.mmioCached, "MMIO accesses answered by a cached MMIO SPTE (no guest fault)"],
    [faults.mmioStale, "MMIO SPTEs found stale"],
  ] as const;
  const lines = notes
    .filter(([count]) => count > 0)
    .map(([count, what]) => `  ${formatCount(count)} ${what}`);
  return [table, ...lines].join("\n");
}

function changeSection({ spteChanges }: TraceSummaryResult, style: Style): string {
  const changes = spteChanges.changes.map(({ kind, byLevel }) => [
    SPTE_CHANGE_WORDS[kind],
    ...counts(byLevel),
  ]);
  const zaps = spteChanges.zaps.map(({ cause, byLevel }) => [ZAP_CAUSES[cause], ...counts(byLevel)]);
  const levels = ["level 1", "level 2", "level 3", "level 4", "level 5"];
  return joinBlocks([
    section("SPTE changes of the TDP MMU", ["change", ...levels], changes, style),
    section("Pages zapped, because", ["cause", "4 KiB", "2 MiB", "1 GiB"], zaps, style),
  ]);
}

function invalidationSection({ invalidations }: TraceSummaryResult, style: Style): string {
  const rows = invalidations.map(({ comm, size, calls, bytes }) => [
    comm,
    size,
    formatCount(calls),
    formatBytes(bytes),
  ]);
  return section(
    "Invalidations (kvm_unmap_hva_range)",
    ["by", "range", "calls", "in all"],
    rows,
    style,
    [0, 1],
  );
}

function tableSection({ tablePages }: TraceSummaryResult, style: Style): string {
  const { rows, splits, guestWalks, zapAllFast } = tablePages;
  const pageRows = rows.map((row) => [
    String(row.level),
    row.direct ? "maps guest memory directly" : "shadows a table of the guest",
    ...counts([row.created, row.found, row.zapped, row.unsynced, row.synced]),
  ]);
  const head = ["level", "kind", "created", "found", "zapped", "unsynced", "synced"];
  const lines = [
    [zapAllFast, "times all pages were zapped at once (kvm_mmu_zap_all_fast)"],
    [splits.done, "huge pages split"],
    [splits.lostRace + splits.noMemory + splits.otherError, "huge pages that could not be split"],
    [guestWalks.walks, "walks of guest page tables"],
    [guestWalks.faults, "of them ended in a fault for the guest"],
    [guestWalks.accessedSet, "Accessed bits set in guest page tables"],
    [guestWalks.dirtySet, "Dirty bits set in guest page tables"],
  ] as const;
  const text = lines.filter(([count]) => count > 0).map(([count, what]) => `  ${formatCount(count)} ${what}`);
  return [section("Page-table pages", head, pageRows, style, [0, 1]), ...text]
    .filter((line) => line !== "")
    .join("\n");
}

/** A summary as tables. */
export function summaryText(result: TraceSummaryResult, style: Style): string {
  const { identity } = result;
  const evidence = identity.evidence.map((sentence) => `  ${sentence}`);
  return joinBlocks([
    [paint(style, "bold", identityText(identity)), ...evidence].join("\n"),
    valueTable(headRows(result), style),
    eventSection(result, style),
    taskSection(result, style),
    agingSection(result, style),
    timeSection(result, style),
    faultSection(result, style),
    changeSection(result, style),
    invalidationSection(result, style),
    tableSection(result, style),
  ]);
}
