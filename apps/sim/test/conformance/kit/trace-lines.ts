import type { TraceRecord } from "@kvm-age/trace";
import { recordsOf } from "./kernel-traces.js";

/** Who writes a line, and what. */
export type TaskLine = readonly [pid: number, payload: string];

/** A line of a task on processor 0, a microsecond for each line. */
function lineOf(pid: number, payload: string, index: number): string {
  return `            task-${String(pid).padEnd(7)} [000] ...1.     1.${String(index).padStart(6, "0")}: ${payload}`;
}

/** The records of lines that are given as task and payload; the first is in line 1. */
export function linesOf(...lines: readonly TaskLine[]): readonly TraceRecord[] {
  return recordsOf(lines.map(([pid, payload], index) => lineOf(pid, payload, index)).join("\n"));
}

/** Payloads as the kernel prints them. */
export const payloads = {
  note: (text: string): string => `tracing_mark_write: ${text}`,
  fault: (address: number): string =>
    `kvm_page_fault: vcpu 0 rip 0x1000 address 0x${address.toString(16).padStart(16, "0")} error_code 0x100000006`,
  requested: (gfn: number): string =>
    `kvm_mmu_spte_requested: gfn ${gfn.toString(16)} pfn 1000 level 1 access f`,
  age: (start: number, end: number): string =>
    `kvm_age_hva: mmu notifier age hva: 0x${start.toString(16)} -- 0x${end.toString(16)}`,
  unmap: (start: number, end: number): string =>
    `kvm_unmap_hva_range: mmu notifier unmap range: 0x${start.toString(16)} -- 0x${end.toString(16)}`,
  changed: (gfn: number, level: number): string =>
    `kvm_tdp_mmu_spte_changed: as id 0 gfn ${gfn.toString(16)} level ${level} old_spte 1000e67 new_spte 1000e47`,
  root: (): string => "kvm_mmu_get_page: sp gen 0 gfn 0 l4 8-byte q0 direct rwux nxe ad root 0 sync new",
} as const;
