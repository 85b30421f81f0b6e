import { isLargePte, isShadowPresentPte, type Spte } from "@kvm-age/spte";
import type { KvmEvent, TraceIdentity, TraceRecord } from "@kvm-age/trace";
import { parseAgevmNote } from "./agevm-note.js";

/** Module parameters, quirks and build options of the recorded kernel, as its MMU's options have them. */
export interface KernelTuning {
  /** `CONFIG_KVM_PROVE_MMU`. */
  readonly proveMmu: boolean;
  /** `nx_huge_pages`. */
  readonly nxHugePages: boolean;
  /** `kvm_intel.pml`. */
  readonly cpuDirtyLog: boolean;
  /** `eager_page_split`. */
  readonly eagerPageSplit: boolean;
  /** `KVM_X86_QUIRK_SLOT_ZAP_ALL`. */
  readonly slotZapAll: boolean;
}

const WRITABLE = 2n;
const GUEST_NX = 1n << 63n;

/** What a trace shows of them; the kernel's defaults where it shows nothing. */
export function inferTuning(identity: TraceIdentity, records: readonly TraceRecord[]): KernelTuning {
  const events = records.filter((record) => record.kind === "kvm");
  return {
    proveMmu: wasBuiltToProveMmu(identity, events),
    nxHugePages: events.some((event) => isHugeWithoutExecution(event)) && !guestForbidsExecution(events),
    cpuDirtyLog: events.some((event, index) => isCleaned(identity, events, event, index)),
    eagerPageSplit: !events.some((event) => lostOnly(event, WRITABLE, 2)),
    slotZapAll: deletesSlotsByZappingAll(records),
  };
}

/**
 * A kernel that proves its MMU empties a root by entries of 1 GiB first, so that tables go together with what they hold, and their entries are
 * frozen. Others empty small tables before they go, and freeze no entry that links one.
 */
function wasBuiltToProveMmu({ format }: TraceIdentity, events: readonly KvmEvent[]): boolean {
  return events.some(
    (event) =>
      event.name === "kvm_tdp_mmu_spte_changed" &&
      event.fields.level > 1 &&
      event.fields.new_spte === format.frozenSpte &&
      isShadowPresentPte(event.fields.old_spte as Spte),
  );
}

/** Data accesses map huge pages without execution under the mitigation, and only then unless guest tables say the same. */
function isHugeWithoutExecution(event: KvmEvent): boolean {
  return event.name === "kvm_mmu_set_spte" && event.fields.level > 1 && !event.fields.x;
}

/** Whether one of the guest's entries that KVM read has NX: with shadow paging it is then the guest that takes execution away. */
function guestForbidsExecution(events: readonly KvmEvent[]): boolean {
  return events.some(
    (event) => event.name === "kvm_mmu_paging_element" && (event.fields.pte & GUEST_NX) !== 0n,
  );
}

/** Whether a leaf lost D alone, and not because a fault built it anew: 6.12 leaves D out then, if the old one was writable. */
function isCleaned(
  { format }: TraceIdentity,
  events: readonly KvmEvent[],
  event: KvmEvent,
  index: number,
): boolean {
  if (!lostOnly(event, format.shadowDirtyMask, 1)) return false;
  let next = index + 1;
  while (next < events.length && events[next]!.pid !== event.pid) next++;
  return events[next]?.name !== "kvm_mmu_set_spte";
}

/** Whether a leaf at `level` or above lost these bits and nothing else. */
function lostOnly(event: KvmEvent, bits: bigint, level: number): boolean {
  if (event.name !== "kvm_tdp_mmu_spte_changed" || event.fields.level < level) return false;
  const { old_spte, new_spte } = event.fields;
  const isLeaf = event.fields.level === 1 || isLargePte(old_spte as Spte);
  return (
    isLeaf &&
    isShadowPresentPte(new_spte as Spte) &&
    bits !== 0n &&
    (old_spte ^ new_spte) === bits &&
    (old_spte & bits) !== 0n
  );
}

/** The first slot that is deleted between notes tells. */
function deletesSlotsByZappingAll(records: readonly TraceRecord[]): boolean {
  let deleting = false;
  for (const record of records) {
    const what = record.kind === "note" ? parseAgevmNote(record.text)?.what : undefined;
    if (what === "slot_delete begin") deleting = true;
    if (what === "slot_delete end") return false;
    if (deleting && record.kind === "kvm" && record.name === "kvm_mmu_zap_all_fast") return true;
  }
  return true;
}
