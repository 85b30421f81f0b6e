import type { TraceIdentity, TraceRecord } from "@kvm-age/trace";
import { PFERR_GUEST_PAGE_MASK } from "@kvm-age/vcpu";
import { pferrOf } from "./error-code.js";

const PAGE_BYTES = 4096;
const ROOT_LEVEL = 4;

/**
 * Guest-physical address of the root of the guest's page tables, 0 if the trace does not show it: with shadow paging what the first root
 * shadows; else the first page of the guest's tables at which the hardware faults, which it walks from the top.
 */
export function findGuestRoot(identity: TraceIdentity, records: readonly TraceRecord[]): number {
  for (const record of records) {
    if (record.kind !== "kvm") continue;
    if (record.name === "kvm_mmu_get_page") {
      const { level, direct, gfn } = record.fields;
      if (level === ROOT_LEVEL && !direct && identity.mode === "shadow") return gfn * PAGE_BYTES;
    }
    if (record.name !== "kvm_page_fault" || identity.mode === "shadow") continue;
    const errorCode = pferrOf(identity, record.fields.error_code);
    const address = Number(record.fields.address);
    if ((errorCode & BigInt(PFERR_GUEST_PAGE_MASK)) !== 0n) return address - (address % PAGE_BYTES);
  }
  return 0;
}
