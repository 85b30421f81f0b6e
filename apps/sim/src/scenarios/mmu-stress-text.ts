import type { MmuStressResult } from "../results/mmu-stress-result.js";
import { formatBytes, formatCount, formatDuration, formatShare } from "../terminal/format-quantity.js";
import { renderTable } from "../terminal/render-table.js";
import type { Style } from "../terminal/style.js";
import { joinBlocks, lockWaitTable, machineLatencyTable, valueTable } from "./machine-tables.js";
import { mmuStressLines } from "./mmu-stress-lines.js";
import { mmuText } from "./mmu-text.js";

type Rows = (readonly [string, string])[];

function agingRows({ aging }: MmuStressResult): Rows {
  if (aging === null) return [["aging", "off"]];
  const average = formatDuration(aging.averagePassSeconds);
  return [
    [
      "aging passes",
      `${formatCount(aging.passes)}, on average ${average}; ${formatCount(aging.idlePages)} pages idle`,
    ],
  ];
}

function endingRows({ ending }: MmuStressResult): Rows {
  if (ending === null) return [];
  const { deletedSlots, unmappedPages, leakedPages } = ending;
  const slots = `slots ${deletedSlots.join(", ") || "none"} deleted`;
  return [["end", `${slots}, ${formatCount(unmappedPages)} pages unmapped, ${leakedPages} leaked`]];
}

function figures(result: MmuStressResult): Rows {
  const { options, slots, tlb, memory } = result;
  const hits = formatShare(tlb.accesses === 0 ? 0 : tlb.hits / tlb.accesses);
  return [
    ["policy", options.policy],
    ["MMU", mmuText(options)],
    ["slots", `${slots.count} of ${formatBytes(options.slotBytes)}, all of the same host memory`],
    ["arena", `${formatBytes(memory.arenaBytes)}, ${memory.arenaBytesPerGuestPage.toFixed(1)} bytes/page`],
    ["guest accesses", `${formatCount(tlb.accesses)}, TLB hits ${hits}`],
    ["EFAULT", formatCount(result.efaults)],
    ...agingRows(result),
    ...endingRows(result),
  ];
}

function vcpuTable(result: MmuStressResult, style: Style): string {
  if (result.vcpus.length === 0) return "";
  const rows = result.vcpus.map(({ vcpu, pages, readOnly, writable }) => [
    String(vcpu),
    ...[pages, readOnly.stores, readOnly.efaults, writable.stores, writable.efaults].map(formatCount),
  ]);
  const head = ["vCPU", "pages", "RO: stores", "RO: EFAULT", "RW: stores", "RW: EFAULT"];
  return renderTable({ head, rows }, style);
}

/** The selftest's lines, then after an empty line what it does not show. */
export function mmuStressText(result: MmuStressResult, style: Style): string {
  return joinBlocks([
    mmuStressLines(result).join("\n"),
    valueTable(figures(result), style),
    vcpuTable(result, style),
    machineLatencyTable(result, style),
    lockWaitTable(result.lockWaits, style),
  ]);
}
