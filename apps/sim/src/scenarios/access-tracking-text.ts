import type { AccessTrackingResult } from "../results/access-tracking-result.js";
import { formatBytes, formatCount, formatShare } from "../terminal/format-quantity.js";
import type { Style } from "../terminal/style.js";
import { accessTrackingLines } from "./access-tracking-lines.js";
import { joinBlocks, lockWaitTable, machineLatencyTable, valueTable } from "./machine-tables.js";
import { mmuText } from "./mmu-text.js";

function figures(result: AccessTrackingResult): (readonly [string, string])[] {
  const { options, tlb, memory, agingDuringFaults: aging } = result;
  const share = (part: number, whole: number): string => formatShare(whole === 0 ? 0 : part / whole);
  const rows: (readonly [string, string])[] = [
    ["policy", options.policy],
    ["MMU", mmuText(options)],
    ["guest memory", `${formatCount(memory.guestPages)} pages, ${options.backing}`],
    ["arena", `${formatBytes(memory.arenaBytes)}, ${memory.arenaBytesPerGuestPage.toFixed(1)} bytes/page`],
    ["guest accesses", `${formatCount(tlb.accesses)}, TLB hits ${share(tlb.hits, tlb.accesses)}`],
    ["TLB flushes", formatCount(tlb.flushes)],
  ];
  if (aging === null) return rows;
  return [
    ...rows,
    ["pages found idle", `${formatCount(aging.idlePages)} in ${formatCount(aging.passes)} passes`],
  ];
}

/** The selftest's lines, then after an empty line what it does not show. */
export function accessTrackingText(result: AccessTrackingResult, style: Style): string {
  return joinBlocks([
    accessTrackingLines(result).join("\n"),
    valueTable(figures(result), style),
    machineLatencyTable(result, style),
    lockWaitTable(result.lockWaits, style),
  ]);
}
