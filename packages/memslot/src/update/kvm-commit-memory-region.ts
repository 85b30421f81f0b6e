import { type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import { kvmDestroyDirtyBitmap } from "../dirty-log/dirty-bitmap.js";
import type { Memslots } from "../memslots/memslots.js";
import { MEMSLOTS_NR_DIRTY_LOGGING, MEMSLOTS_NR_PAGES } from "../memslots/memslots-layout.js";
import { kvmArchFreeMemslot } from "../metadata/slot-metadata.js";
import type { SecondaryMmu } from "../notifier/secondary-mmu.js";
import {
  kvmSlotDirtyTrackEnabled,
  NULL_SLOT,
  type Slot,
  slotDirtyBitmap,
  slotFlags,
  slotNpages,
} from "../slot/slot.js";
import { KVM_MEM_READONLY } from "../slot/slot-flags.js";
import { kvmFreeMemslot } from "./kvm-free-memslot.js";
import type { KvmMrChange } from "./memory-region.js";

/** Guest pages for each shadow page of the default quota (kernel `KVM_MEMSLOT_PAGES_TO_MMU_PAGES_RATIO`). */
export const KVM_MEMSLOT_PAGES_TO_MMU_PAGES_RATIO = 50;
/** Lowest quota of shadow pages (kernel `KVM_MIN_ALLOC_MMU_PAGES`). */
export const KVM_MIN_ALLOC_MMU_PAGES = 64;

function isLogged(cpu: Cpu, slot: Slot): boolean {
  return slot !== NULL_SLOT && kvmSlotDirtyTrackEnabled(cpu, slot);
}

function addNrMemslotPages(memslots: Memslots, cpu: Cpu, pages: number): bigint {
  const word = offset(memslots.address, MEMSLOTS_NR_PAGES);
  const total = cpu.readOnce(word) + BigInt(pages);
  cpu.writeOnce(word, total);
  return total;
}

/** `kvm_commit_memory_region` before the arch part: the VM's totals. */
function commitTotals(
  memslots: Memslots,
  cpu: Cpu,
  mmu: SecondaryMmu,
  old: Slot,
  fresh: Slot,
  kind: KvmMrChange,
): void {
  const wasLogged = isLogged(cpu, old);
  const willBeLogged = isLogged(cpu, fresh);
  if (wasLogged !== willBeLogged) {
    cpu.fetchAdd32(offset(memslots.address, MEMSLOTS_NR_DIRTY_LOGGING), willBeLogged ? 1 : -1, "full");
  }
  if (kind !== "create" && kind !== "delete") return;
  const pages = kind === "create" ? slotNpages(cpu, fresh) : -slotNpages(cpu, old);
  const total = Number(addNrMemslotPages(memslots, cpu, pages));
  const quota = Math.floor(total / KVM_MEMSLOT_PAGES_TO_MMU_PAGES_RATIO);
  mmu.changeMmuPages(cpu, Math.max(quota, KVM_MIN_ALLOC_MMU_PAGES));
}

/** `kvm_mmu_slot_apply_flags`. */
function applyFlags(
  memslots: Memslots,
  cpu: Cpu,
  mmu: SecondaryMmu,
  old: Slot,
  fresh: Slot,
  kind: KvmMrChange,
): void {
  const willBeLogged = isLogged(cpu, fresh);
  if (isLogged(cpu, old) === willBeLogged) return;
  const logged = memslots.nrMemslotsDirtyLogging(cpu);
  if (logged === (willBeLogged ? 1 : 0)) mmu.updateCpuDirtyLogging(cpu, willBeLogged);
  if (kind !== "flags-only" || (slotFlags(cpu, fresh) & KVM_MEM_READONLY) !== 0) return;
  if (!willBeLogged) {
    mmu.disableDirtyLogging(cpu, fresh);
  } else if (!memslots.options.dirtyLogInitiallySet) {
    mmu.enableDirtyLogging(cpu, fresh);
    // Whether or not anything was write-protected: another thread may have done it and not flushed yet.
    mmu.flushRemoteTlbsMemslot(cpu, fresh);
  }
}

/** Frees what the new slot did not take over. */
function freeOld(memslots: Memslots, cpu: Cpu, old: Slot, fresh: Slot, kind: KvmMrChange): void {
  if (kind === "create") return;
  if (kind === "delete") {
    kvmFreeMemslot(memslots, cpu, old);
    return;
  }
  if (kind === "move") kvmArchFreeMemslot(memslots, cpu, old);
  if (slotDirtyBitmap(cpu, fresh) === NULL_ADDRESS) kvmDestroyDirtyBitmap(memslots, cpu, old);
  memslots.slotSlab.free(cpu, old);
}

/**
 * The change is active: adjusts the VM's totals, tells the MMUs, frees the old slot (kernel
 * `kvm_commit_memory_region`). Held: `slots_lock`.
 */
export function kvmCommitMemoryRegion(
  memslots: Memslots,
  cpu: Cpu,
  mmu: SecondaryMmu,
  old: Slot,
  fresh: Slot,
  kind: KvmMrChange,
): void {
  commitTotals(memslots, cpu, mmu, old, fresh, kind);
  applyFlags(memslots, cpu, mmu, old, fresh, kind);
  freeOld(memslots, cpu, old, fresh, kind);
}
