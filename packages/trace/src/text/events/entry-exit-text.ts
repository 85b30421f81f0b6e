import type { TraceKernel } from "../../schema/kernel-layout.js";
import type { KvmEventFields } from "../../schema/kvm-event-fields.js";
import { UnwritableRecordError } from "../errors.js";
import type { PayloadScanner } from "../payload-scanner.js";
import { type EventTexts, hex, paddedHex } from "./event-text.js";

type Entry = KvmEventFields["kvm_entry"];
type Exit = KvmEventFields["kvm_exit"];

const IMMEDIATE_EXIT = "[immediate exit]";

function readEntry(scanner: PayloadScanner): Entry {
  const vcpu = scanner.decimalAfter("vcpu ");
  const rip = scanner.hex64After(", rip 0x");
  const printed = scanner.skips(" intr_info 0x");
  const intr_info = printed ? scanner.hex() : null;
  const error_code = printed ? scanner.hexAfter(" error_code 0x") : null;
  return { vcpu, rip, intr_info, error_code, immediate_exit: scanner.skips(IMMEDIATE_EXIT) };
}

/** `%08x` of a field that may not be there. */
function word32(event: "kvm_entry" | "kvm_exit", field: string, value: number | null): string {
  if (value === null) throw new UnwritableRecordError(event, field, value, "an integer in [0, 0xffffffff]");
  return `0x${paddedHex(value, 8)}`;
}

function writeEntry(entry: Entry, kernel: TraceKernel): string {
  const place = `vcpu ${entry.vcpu}, rip 0x${hex(entry.rip)}`;
  const suffix = entry.immediate_exit ? IMMEDIATE_EXIT : "";
  if (kernel !== "linux-7.3") return `${place}${suffix}`;
  const intrInfo = word32("kvm_entry", "intr_info", entry.intr_info);
  const errorCode = word32("kvm_entry", "error_code", entry.error_code);
  return `${place} intr_info ${intrInfo} error_code ${errorCode}${suffix}`;
}

/** The reason: everything up to ` rip 0x`, as it may be several words. */
function readReason(scanner: PayloadScanner): string {
  const from = scanner.position;
  while (scanner.position < scanner.end && !scanner.sees(" rip 0x")) scanner.position++;
  return scanner.textFrom(from);
}

function readExit(scanner: PayloadScanner): Exit {
  const vcpu = scanner.decimalAfter("vcpu ");
  scanner.literal(" reason ");
  const reason = readReason(scanner);
  const rip = scanner.hex64After(" rip 0x");
  if (scanner.skips(" info ")) return { vcpu, reason, rip, ...readPluginInfo(scanner) };
  const info1 = scanner.hex64After(" info1 0x");
  const info2 = scanner.hex64After(" info2 0x");
  const intr_info = scanner.hexAfter(" intr_info 0x");
  const error_code = scanner.hexAfter(" error_code 0x");
  const requests = scanner.skips(" requests 0x") ? scanner.hex64() : null;
  return { vcpu, reason, rip, info1, info2, intr_info, error_code, requests };
}

/** trace-cmd's plugin: two words without names, and no more. */
function readPluginInfo(
  scanner: PayloadScanner,
): Pick<Exit, "info1" | "info2" | "intr_info" | "error_code" | "requests"> {
  const info1 = scanner.hex64();
  return { info1, info2: scanner.hex64After(" "), intr_info: null, error_code: null, requests: null };
}

function writeExit(exit: Exit, kernel: TraceKernel): string {
  const place = `vcpu ${exit.vcpu} reason ${exit.reason} rip 0x${hex(exit.rip)}`;
  const info = `info1 0x${paddedHex(exit.info1, 16)} info2 0x${paddedHex(exit.info2, 16)}`;
  const intrInfo = word32("kvm_exit", "intr_info", exit.intr_info);
  const errorCode = word32("kvm_exit", "error_code", exit.error_code);
  const text = `${place} ${info} intr_info ${intrInfo} error_code ${errorCode}`;
  if (kernel !== "linux-7.3") return text;
  if (exit.requests === null) throw new UnwritableRecordError("kvm_exit", "requests", null, "64 bits");
  return `${text} requests 0x${paddedHex(exit.requests, 16)}`;
}

/** Entry into the guest, and exit from it. */
export const entryExitText: EventTexts<"kvm_entry" | "kvm_exit"> = {
  kvm_entry: { read: readEntry, write: writeEntry },
  kvm_exit: { read: readExit, write: writeExit },
};
