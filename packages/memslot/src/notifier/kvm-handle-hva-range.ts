import type { Cpu } from "@kvm-age/machine";
import type { Hva } from "../address/hva.js";
import { PAGE_SIZE } from "../address/page.js";
import { hvaRangeIterFirst, hvaRangeIterNext } from "../lookup/hva-range-iterator.js";
import type { MemslotWarning } from "../memslots/memslot-warning.js";
import type { Memslots } from "../memslots/memslots.js";
import { NULL_SLOT, type Slot, slotUserspaceAddr } from "../slot/slot.js";
import { hvaToGfnMemslot, slotUserspaceEnd } from "../slot/slot-hva.js";
import { KVM_FILTER_SHARED, type KvmGfnRange } from "./kvm-gfn-range.js";
import type { SecondaryMmu } from "./secondary-mmu.js";

/** What to do with the slots that an hva range touches (kernel `struct kvm_mmu_notifier_range`). */
export interface KvmMmuNotifierRange {
  readonly start: Hva;
  /** First hva behind the range; greater than `start`. */
  readonly end: Hva;
  /** Called for every slot in turn; null to call `onLock` only. */
  readonly handler: ((cpu: Cpu, range: KvmGfnRange) => boolean) | null;
  /** Called once, right after `mmu_lock` was taken for the first slot. Not with `lockless`. */
  readonly onLock: ((cpu: Cpu) => void) | null;
  /** Flush all TLBs if any handler returned true. */
  readonly flushOnRet: boolean;
  /** Whether handlers may reschedule. */
  readonly mayBlock: boolean;
  /** Walk without `mmu_lock`. */
  readonly lockless: boolean;
}

/** What a walk found. */
export interface HvaWalkResult {
  /** Whether any handler returned true. */
  readonly ret: boolean;
  /** Whether any slot intersects the range. */
  readonly foundMemslot: boolean;
}

// The walk runs once for each page that is aged: its four results are made once.
const NOTHING_FOUND: HvaWalkResult = { ret: false, foundMemslot: false };
const FOUND_FALSE: HvaWalkResult = { ret: false, foundMemslot: true };
const FOUND_TRUE: HvaWalkResult = { ret: true, foundMemslot: true };

/** Why the range is refused, or null. In the kernel's order. */
function refusal(range: KvmMmuNotifierRange): MemslotWarning | null {
  if (range.end <= range.start) return "empty-hva-range";
  if (range.handler === null && range.onLock === null) return "no-handler";
  if (range.lockless && range.onLock !== null) return "lockless-on-lock";
  return null;
}

/** The guest frames of `slot` that the byte range touches; it intersects the slot. */
function gfnRangeOf(cpu: Cpu, slot: Slot, range: KvmMmuNotifierRange): KvmGfnRange {
  const hvaStart = Math.max(range.start, slotUserspaceAddr(cpu, slot)) as Hva;
  const hvaEnd = Math.min(range.end, slotUserspaceEnd(cpu, slot)) as Hva;
  return {
    slot,
    start: hvaToGfnMemslot(cpu, slot, hvaStart),
    end: hvaToGfnMemslot(cpu, slot, (hvaEnd + PAGE_SIZE - 1) as Hva),
    mayBlock: range.mayBlock,
    lockless: range.lockless,
    attrFilter: KVM_FILTER_SHARED,
  };
}

function walk(memslots: Memslots, cpu: Cpu, mmu: SecondaryMmu, range: KvmMmuNotifierRange): HvaWalkResult {
  const { handler, lockless } = range;
  const last = (range.end - 1) as Hva;
  let found = false;
  let ret = false;
  for (let asId = 0; asId < memslots.nrAddressSpaces; asId++) {
    const set = memslots.kvmMemslots(cpu, asId);
    let slot = hvaRangeIterFirst(cpu, set, range.start, last);
    if (slot !== NULL_SLOT && !found) {
      found = true;
      if (!lockless) cpu.writeLock(memslots.locks.mmuLock);
      range.onLock?.(cpu);
    }
    if (found && handler === null) break;
    for (; slot !== NULL_SLOT; slot = hvaRangeIterNext(cpu, set, slot, range.start, last)) {
      // Every slot is visited, whatever an earlier one returned.
      ret = handler!(cpu, gfnRangeOf(cpu, slot, range)) || ret;
    }
  }
  if (range.flushOnRet && ret) mmu.flushRemoteTlbs(cpu);
  if (found && !lockless) cpu.writeUnlock(memslots.locks.mmuLock);
  if (!found) return NOTHING_FOUND;
  return ret ? FOUND_TRUE : FOUND_FALSE;
}

/**
 * Calls the handler for every slot, in every address space, that an hva range touches (kernel
 * `kvm_handle_hva_range`; series patch 2 for `lockless`). Runs in a read section of `kvm->srcu`. Unless
 * lockless, `mmu_lock` is held for write from the first slot to the flush; it is not touched if no slot
 * intersects.
 *
 * An empty range, a range without handler and `onLock`, and a lockless one with `onLock` are refused: counted
 * as a warning, nothing called.
 */
export function kvmHandleHvaRange(
  memslots: Memslots,
  cpu: Cpu,
  mmu: SecondaryMmu,
  range: KvmMmuNotifierRange,
): HvaWalkResult {
  const warning = refusal(range);
  if (warning !== null) {
    memslots.warn(cpu, warning);
    return NOTHING_FOUND;
  }
  const index = cpu.srcuReadLock(memslots.locks.srcu);
  const result = walk(memslots, cpu, mmu, range);
  cpu.srcuReadUnlock(memslots.locks.srcu, index);
  return result;
}
