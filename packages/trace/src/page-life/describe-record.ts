import type { Spte, SpteFormat } from "@kvm-age/spte";
import type { TraceMmuMode } from "../identify/trace-identity.js";
import type { KvmEventFields, KvmMmuPageFields } from "../schema/kvm-event-fields.js";
import type { KvmEvent, ProbeRecord } from "../schema/trace-record.js";
import { entryLevel } from "../state/entry-level.js";
import { probedFunction, returnedTrue } from "../state/probed-function.js";
import { SPTE_CHANGE_WORDS, spteChangeKind } from "../state/spte-change-kind.js";
import { faultAccess } from "../summary/fault-access.js";

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

function rangeText({ start, end }: { readonly start: number; readonly end: number }): string {
  return `hva ${hex(start)} to ${hex(end)}`;
}

function pageText({ level, direct, gfn }: KvmMmuPageFields): string {
  return direct
    ? `table of level ${level} from gfn ${hex(gfn)}`
    : `shadow (level ${level}) of the guest's table at gfn ${hex(gfn)}`;
}

function faultText(format: SpteFormat, fields: KvmEventFields["kvm_page_fault"]): string {
  const access = faultAccess(format.mode as TraceMmuMode, fields.error_code);
  const kind = format.mode === "shadow" ? "gva" : "gpa";
  return `guest ${access} faults: vCPU ${fields.vcpu}, ${kind} ${hex(fields.address)}, error code ${hex(fields.error_code)}`;
}

function fastFaultText({ vcpu, spurious, fixed }: KvmEventFields["fast_page_fault"]): string {
  if (spurious) return `fast page fault on vCPU ${vcpu}: the SPTE allows the access already`;
  if (fixed) return `fast page fault on vCPU ${vcpu}: fixed without mmu_lock`;
  return `fast page fault on vCPU ${vcpu}: not possible, the slow path follows`;
}

function changeText(format: SpteFormat, fields: KvmEventFields["kvm_tdp_mmu_spte_changed"]): string {
  const { level, old_spte, new_spte } = fields;
  const pgLevel = entryLevel(level);
  if (pgLevel === null) return `change of an entry of level ${level}, which no table has`;
  const kind = spteChangeKind(format, old_spte as Spte, new_spte as Spte, pgLevel);
  return `${SPTE_CHANGE_WORDS[kind]} at level ${level}`;
}

/** Says what an event means for the page that it is about. */
export function describeEvent(format: SpteFormat, event: KvmEvent): string {
  switch (event.name) {
    case "kvm_age_hva":
      return `the host asks whether ${rangeText(event.fields)} is young, and clears`;
    case "kvm_test_age_hva":
      return `the host asks whether hva ${hex(event.fields.hva)} is young`;
    case "kvm_unmap_hva_range":
      return `the host invalidates ${rangeText(event.fields)}`;
    case "kvm_page_fault":
      return faultText(format, event.fields);
    case "fast_page_fault":
      return fastFaultText(event.fields);
    case "kvm_mmu_spte_requested":
      return `the host's page is pfn ${hex(event.fields.pfn)}; to be mapped at level ${event.fields.level}`;
    case "kvm_tdp_mmu_spte_changed":
      return changeText(format, event.fields);
    case "kvm_mmu_set_spte":
      return `SPTE set at level ${event.fields.level}, at ${hex(event.fields.sptep)}`;
    case "kvm_mmu_split_huge_page":
      return event.fields.errno === 0
        ? `huge page of level ${event.fields.level} split`
        : `huge page of level ${event.fields.level} not split: errno ${event.fields.errno}`;
    case "kvm_mmu_get_page":
      return `${pageText(event.fields)} ${event.fields.created ? "created" : "found"}`;
    case "kvm_mmu_prepare_zap_page":
      return `${pageText(event.fields)} zapped`;
    case "kvm_mmu_unsync_page":
      return `${pageText(event.fields)} becomes unsync`;
    case "kvm_mmu_sync_page":
      return `${pageText(event.fields)} synced`;
    case "mark_mmio_spte":
      return "no memory there: MMIO SPTE set";
    case "handle_mmio_page_fault":
      return "access answered by the MMIO SPTE";
    case "kvm_mmu_set_accessed_bit":
      return `KVM sets Accessed in the guest's entry at gpa ${hex(event.fields.gpa)}, in this page`;
    case "kvm_mmu_set_dirty_bit":
      return `KVM sets Dirty in the guest's entry at gpa ${hex(event.fields.gpa)}, in this page`;
    case "kvm_mmu_zap_all_fast":
      return "all mappings are zapped (a memslot goes away)";
    default:
      return event.name;
  }
}

/** Says what a probe shows. */
export function describeProbe(record: ProbeRecord): string {
  const probed = probedFunction(record);
  if (probed === null) return record.name;
  const args = Object.entries(record.args).map(([name, value]) => `${name} ${hex(value)}`);
  if (!probed.returns) return `${probed.name} entered${args.length > 0 ? `: ${args.join(", ")}` : ""}`;
  const returned = returnedTrue(record);
  return `${probed.name} returned${returned === null ? "" : returned ? " true" : " false"}`;
}
