import type { TraceKernel } from "../../schema/kernel-layout.js";
import type { KvmEventFields } from "../../schema/kvm-event-fields.js";
import { errorCodeText, readErrorCode } from "../error-code-names.js";
import { UnwritableRecordError } from "../errors.js";
import type { PayloadScanner } from "../payload-scanner.js";
import { bitText, type EventTexts, hex, paddedHex } from "./event-text.js";

type Requested = KvmEventFields["kvm_mmu_spte_requested"];
type SetSpte = KvmEventFields["kvm_mmu_set_spte"];
type FastPageFault = KvmEventFields["fast_page_fault"];

function readRequested(scanner: PayloadScanner): Requested {
  const gfn = scanner.hexAfter("gfn ");
  const pfn = scanner.pfnAfter(" pfn ");
  const level = scanner.decimalAfter(" level ");
  const printed = scanner.skips(" access ");
  if (printed) scanner.evidence.requestedWithAccess++;
  else scanner.evidence.requestedWithoutAccess++;
  return { gfn, pfn, level, access: printed ? scanner.hex() : null };
}

function writeRequested({ gfn, pfn, level, access }: Requested, kernel: TraceKernel): string {
  const text = `gfn ${hex(gfn)} pfn ${hex(pfn)} level ${level}`;
  if (kernel !== "linux-7.3") return text;
  if (access === null) throw new UnwritableRecordError("kvm_mmu_spte_requested", "access", null, "a number");
  return `${text} access ${hex(access)}`;
}

/** Goes past `letter`, or the dash in its place. */
function readLetter(scanner: PayloadScanner, letter: string): boolean {
  if (scanner.skips(letter)) return true;
  scanner.literal("-");
  return false;
}

function readSetSpte(scanner: PayloadScanner): SetSpte {
  const gfn = scanner.hexAfter("gfn ");
  const spte = scanner.hex64After(" spte ");
  scanner.literal(" (");
  const r = readLetter(scanner, "r");
  // Says what bit 1 of the SPTE says.
  readLetter(scanner, "w");
  const x = readLetter(scanner, "x");
  const u = scanner.sees(")") ? null : readLetter(scanner, "u");
  const level = scanner.decimalAfter(") level ");
  return { gfn, spte, level, sptep: scanner.hexAfter(" at "), r, x, u };
}

function userLetter(u: boolean | null, kernel: TraceKernel): string {
  if (u !== null) return u ? "u" : "-";
  if (kernel !== "linux-7.3") return "";
  throw new UnwritableRecordError("kvm_mmu_set_spte", "u", null, "true or false");
}

function writeSetSpte(fields: SetSpte, kernel: TraceKernel): string {
  const { gfn, spte, level, sptep } = fields;
  const w = (spte & 2n) !== 0n ? "w" : "-";
  const letters = `${fields.r ? "r" : "-"}${w}${fields.x ? "x" : "-"}${userLetter(fields.u, kernel)}`;
  return `gfn ${hex(gfn)} spte ${hex(spte)} (${letters}) level ${level} at ${hex(sptep)}`;
}

function readFastPageFault(scanner: PayloadScanner): FastPageFault {
  const vcpu = scanner.decimalAfter("vcpu ");
  const gva = scanner.hex64After(" gva ");
  scanner.literal(" error_code ");
  const error_code = readErrorCode(scanner);
  const sptep = scanner.pointerAfter(" sptep ");
  scanner.literal(" old ");
  return {
    vcpu,
    gva,
    error_code,
    sptep,
    old_spte: scanner.prefixedHex64(),
    new_spte: scanner.hex64After(" new "),
    spurious: scanner.bitAfter(" spurious "),
    fixed: scanner.bitAfter(" fixed "),
  };
}

function writeFastPageFault(fields: FastPageFault, kernel: TraceKernel): string {
  const where = `vcpu ${fields.vcpu} gva ${hex(fields.gva)} error_code ${errorCodeText(fields.error_code, kernel)}`;
  const values = `sptep ${paddedHex(fields.sptep, 16)} old 0x${hex(fields.old_spte)} new ${hex(fields.new_spte)}`;
  return `${where} ${values} spurious ${bitText(fields.spurious)} fixed ${bitText(fields.fixed)}`;
}

/** The fault path. */
export const faultText: EventTexts<
  "kvm_page_fault" | "kvm_mmu_spte_requested" | "kvm_mmu_set_spte" | "fast_page_fault"
> = {
  kvm_page_fault: {
    read: (scanner) => ({
      vcpu: scanner.decimalAfter("vcpu "),
      rip: scanner.hex64After(" rip 0x"),
      address: scanner.hex64After(" address 0x"),
      error_code: scanner.hex64After(" error_code 0x"),
    }),
    write: ({ vcpu, rip, address, error_code }) =>
      `vcpu ${vcpu} rip 0x${hex(rip)} address 0x${paddedHex(address, 16)} error_code 0x${hex(error_code)}`,
  },
  kvm_mmu_spte_requested: { read: readRequested, write: writeRequested },
  kvm_mmu_set_spte: { read: readSetSpte, write: writeSetSpte },
  fast_page_fault: { read: readFastPageFault, write: writeFastPageFault },
};
