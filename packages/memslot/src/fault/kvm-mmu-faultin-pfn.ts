import type { Cpu } from "@kvm-age/machine";
import type { Gfn, Pfn } from "@kvm-age/spte";
import { KVM_HVA_ERR_RO_BAD, kvmIsErrorHva } from "../address/hva.js";
import { mmuInvalidateRetryGfnUnsafe } from "../invalidate/mmu-invalidate-retry.js";
import type { Memslots } from "../memslots/memslots.js";
import { NULL_SLOT, type Slot, slotFlags, slotIsInvalid } from "../slot/slot.js";
import { KVM_MEM_READONLY } from "../slot/slot-flags.js";
import { gfnToHva } from "../slot/slot-hva.js";
import type { HvaToPfnResult, PrimaryMmu } from "./primary-mmu.js";

/** What a fault needs to know to find its page (part of kernel `struct kvm_page_fault`). */
export interface KvmPageFaultTarget {
  /** Slot of `gfn` (`kvmVcpuGfnToMemslot`), or `NULL_SLOT`. */
  readonly slot: Slot;
  readonly gfn: Gfn;
  /** The access is a write. */
  readonly write: boolean;
  /** Nobody waits for the page: a prefault. */
  readonly prefetch: boolean;
}

/**
 * What to do next: map the page (`continue`), give up this time and let the guest fault again (`retry`),
 * treat the access as MMIO (`no-slot`), emulate the instruction (`emulate`, a write to read-only memory), or
 * return to user space (`error`).
 */
export type FaultinOutcome = "continue" | "retry" | "no-slot" | "emulate" | "error";

/** Error code to user space; `EHWPOISON` comes with `retry` and means that the task is to be signalled. */
export type FaultinErrno = "EINTR" | "EFAULT" | "EAGAIN" | "EHWPOISON";

/** Result of a lookup. */
export interface FaultinResult {
  readonly outcome: FaultinOutcome;
  /** The page, referenced until the caller releases it; 0 unless `continue`. */
  readonly pfn: Pfn;
  /** Whether the mapping may be made writable. */
  readonly mapWritable: boolean;
  /** Snapshot for `mmuInvalidateRetryGfn`, which the caller must ask under `mmu_lock`. */
  readonly mmuSeq: bigint;
  readonly slot: Slot;
  readonly errno: FaultinErrno | null;
}

function without(
  fault: KvmPageFaultTarget,
  mmuSeq: bigint,
  outcome: FaultinOutcome,
  errno: FaultinErrno | null = null,
): FaultinResult {
  return { outcome, pfn: 0 as Pfn, mapWritable: false, mmuSeq, slot: fault.slot, errno };
}

/** `__kvm_faultin_pfn`: first without waiting, then, if that would have had to, waiting and interruptible. */
function hvaToPfn(cpu: Cpu, primary: PrimaryMmu, fault: KvmPageFaultTarget): HvaToPfnResult | "bad" {
  const hva = gfnToHva(cpu, fault.slot, fault.gfn, fault.write);
  if (kvmIsErrorHva(hva)) return hva === KVM_HVA_ERR_RO_BAD ? { error: "ro-fault" } : "bad";
  const { write } = fault;
  const allowWritable = (slotFlags(cpu, fault.slot) & KVM_MEM_READONLY) === 0;
  const quick = primary.hvaToPfn(cpu, hva, { write, allowWritable, noWait: true, interruptible: false });
  if (quick.error !== "needs-io") return quick;
  return primary.hvaToPfn(cpu, hva, { write, allowWritable, noWait: false, interruptible: true });
}

/** `kvm_handle_error_pfn`. */
function errorResult(
  fault: KvmPageFaultTarget,
  mmuSeq: bigint,
  error: NonNullable<HvaToPfnResult["error"]>,
): FaultinResult {
  switch (error) {
    case "sigpending":
      return without(fault, mmuSeq, "error", "EINTR");
    case "ro-fault":
      return without(fault, mmuSeq, "emulate");
    case "hwpoison":
      return without(fault, mmuSeq, "retry", "EHWPOISON");
    default:
      return without(fault, mmuSeq, "error", "EFAULT");
  }
}

/**
 * Finds the page behind a fault, outside `mmu_lock` (kernel `kvm_mmu_faultin_pfn`). The sequence is read
 * before the lookup and the barrier keeps it so; pairs with `kvmMmuInvalidateEnd`: a page table change that
 * the lookup missed moves the sequence, or is still in progress, when the caller asks under the lock. The two
 * checks here may be wrong; they only save work. Held: SRCU.
 */
export function kvmMmuFaultinPfn(
  memslots: Memslots,
  cpu: Cpu,
  primary: PrimaryMmu,
  fault: KvmPageFaultTarget,
): FaultinResult {
  const mmuSeq = memslots.mmuInvalidateSeq(cpu);
  cpu.smpRmb();
  if (fault.slot === NULL_SLOT) return without(fault, mmuSeq, "no-slot");
  if (slotIsInvalid(cpu, fault.slot)) {
    // The slot is going away: spin until the update is done. Nobody is there to spin for a prefetch.
    const fails = fault.prefetch && memslots.options.prefetchIntoInvalidSlot === "EAGAIN";
    return fails ? without(fault, mmuSeq, "error", "EAGAIN") : without(fault, mmuSeq, "retry");
  }
  if (mmuInvalidateRetryGfnUnsafe(memslots, cpu, mmuSeq, fault.gfn)) return without(fault, mmuSeq, "retry");

  const found = hvaToPfn(cpu, primary, fault);
  if (found === "bad") return without(fault, mmuSeq, "no-slot");
  if (found.error !== null) return errorResult(fault, mmuSeq, found.error);
  if (mmuInvalidateRetryGfnUnsafe(memslots, cpu, mmuSeq, fault.gfn)) {
    primary.releasePage(cpu, found.pfn, "unused");
    return without(fault, mmuSeq, "retry");
  }
  const { pfn, mapWritable } = found;
  return { outcome: "continue", pfn, mapWritable, mmuSeq, slot: fault.slot, errno: null };
}
