import type { TraceRecord } from "../../src/index.js";
import { parseTraceText } from "../../src/index.js";

/** Who writes a line, and when. */
export interface LineOrigin {
  readonly pid?: number;
  readonly us?: number;
  readonly flags?: string;
  readonly comm?: string;
}

/** A line of a trace file: `text` is the event, a colon, and its payload. */
export function line(
  text: string,
  { pid = 7, us = 0, flags = "...1.", comm = "vm" }: LineOrigin = {},
): string {
  const time = `${Math.floor(us / 1e6)}.${String(us % 1e6).padStart(6, "0")}`;
  return `${comm.padStart(16)}-${String(pid).padEnd(7)} [000] ${flags} ${time.padStart(12)}: ${text}\n`;
}

/** The records of lines; fails if one of them is none. */
export function recordsOf(...lines: readonly string[]): readonly TraceRecord[] {
  const { records, report } = parseTraceText(lines.join(""));
  if (report.damaged.count > 0) throw new Error(`damaged: ${JSON.stringify(report.damaged.first)}`);
  return records;
}

/** A change of an SPTE of the TDP MMU; values in hexadecimal. */
export function changed(
  gfn: number,
  level: number,
  before: string,
  after: string,
  origin: LineOrigin = {},
): string {
  const text = `as id 0 gfn ${gfn.toString(16)} level ${level} old_spte ${before} new_spte ${after}`;
  return line(`kvm_tdp_mmu_spte_changed: ${text}`, origin);
}

function hva(value: number): string {
  return `0x${value.toString(16).padStart(14, "0")}`;
}

/** A call of `clear_young`, `pages` pages from `start`. */
export function ageHva(start: number, pages: number, origin: LineOrigin = {}): string {
  return line(`kvm_age_hva: mmu notifier age hva: ${hva(start)} -- ${hva(start + pages * 4096)}`, origin);
}

/** An invalidation. */
export function unmapHva(start: number, pages: number, origin: LineOrigin = {}): string {
  return line(
    `kvm_unmap_hva_range: mmu notifier unmap range: ${hva(start)} -- ${hva(start + pages * 4096)}`,
    origin,
  );
}

/** The probe at the entry of `kvm_age_gfn`. */
export function ageGfn(start: number, end: number, origin: LineOrigin = {}): string {
  return line(
    `age_gfn: (kvm_age_gfn+0x4/0x60) start=0x${start.toString(16)} end=0x${end.toString(16)}`,
    origin,
  );
}

/** The probe at its return. */
export function ageGfnReturned(ret: number, origin: LineOrigin = {}): string {
  return line(`age_gfn_ret: (kvm_mmu_notifier_clear_young+0x1bf/0x280 <- kvm_age_gfn) ret=${ret}`, origin);
}

/** A guest fault. */
export function pageFault(address: number, errorCode: string, origin: LineOrigin = {}): string {
  const text = `vcpu 0 rip 0x1000 address 0x${address.toString(16).padStart(16, "0")} error_code ${errorCode}`;
  return line(`kvm_page_fault: ${text}`, origin);
}

/** A fast page fault that was fixed. */
export function fastFixed(address: number, before: string, after: string, origin: LineOrigin = {}): string {
  const text = `vcpu 0 gva ${address.toString(16)} error_code 0x100000000 sptep 0000000012345678 old 0x${before} new ${after} spurious 0 fixed 1`;
  return line(`fast_page_fault: ${text}`, origin);
}
