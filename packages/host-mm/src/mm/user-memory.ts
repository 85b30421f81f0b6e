import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { UserAccessAlignmentError, UserAccessValueError } from "../errors.js";
import { FIRST_HOST_PFN } from "../page/mem-map.js";
import { hvaToIndex, isInMappingWindow } from "../page-table/mapping-window.js";
import { PAGE_SIZE } from "../page-table/page-size.js";
import { doUserAddrFault } from "./do-user-addr-fault.js";
import { hardwareWalk, PAGE_FAULT } from "./hardware-walk.js";
import type { MmStruct } from "./mm-struct.js";
import {
  cmpxchgWord,
  loadWord,
  storeWord,
  type UserAccessSize,
  type UserWord,
  userWord,
} from "./user-word.js";

/** How `cmpxchgUser` ended: replaced; left alone because another value was found; or no mapping allows the access. */
export type UserCmpxchgResult = "done" | "changed" | "fault";

/** One access of the kernel to user memory. */
interface UserMemoryAccess {
  readonly hva: number;
  readonly size: UserAccessSize;
  readonly write: boolean;
  /** Fail instead of handling a page fault (kernel `pagefault_disable`). */
  readonly atomic: boolean;
}

/** `__get_user`: the bytes at `hva`, little-endian; null if the access faults. Errors as `HostMm.loadUser` says. */
export function loadUser(
  mm: MmStruct,
  cpu: Cpu,
  hva: number,
  size: UserAccessSize,
  atomic: boolean,
): bigint | null {
  return accessUser(mm, cpu, { hva, size, write: false, atomic }, (word) => loadWord(cpu, word));
}

/** `__put_user`: false if the access faults. Errors as `HostMm.storeUser` says. */
export function storeUser(
  mm: MmStruct,
  cpu: Cpu,
  hva: number,
  size: UserAccessSize,
  value: bigint,
  atomic: boolean,
): boolean {
  checkValue(value, size);
  const stored = accessUser(mm, cpu, { hva, size, write: true, atomic }, (word) => {
    storeWord(cpu, word, value);
    return true;
  });
  return stored !== null;
}

/**
 * `__try_cmpxchg_user`. A write for the page tables even if it finds another value: the locked instruction always writes
 * (Intel SDM volume 2, CMPXCHG). Faults the page in. Errors as `HostMm.cmpxchgUser` says.
 */
export function cmpxchgUser(
  mm: MmStruct,
  cpu: Cpu,
  where: { readonly hva: number; readonly size: UserAccessSize },
  expected: bigint,
  replacement: bigint,
): UserCmpxchgResult {
  checkValue(expected, where.size);
  checkValue(replacement, where.size);
  const replaced = accessUser(mm, cpu, { ...where, write: true, atomic: false }, (word) =>
    cmpxchgWord(cpu, word, expected, replacement),
  );
  if (replaced === null) return "fault";
  return replaced ? "done" : "changed";
}

/**
 * Translates and runs `use`, again and again after page faults that could be handled; null if one could not, or may not.
 *
 * Translation and use share one read section, so the frame is not reused in between: an unmap that clears the entry meanwhile frees the frame
 * a grace period later, and the access takes effect as if it came before the unmap. No page-table lock instead: KVM makes atomic accesses
 * under `mmu_lock`, which aging takes inside the page-table lock.
 */
function accessUser<T>(
  mm: MmStruct,
  cpu: Cpu,
  access: UserMemoryAccess,
  use: (word: UserWord) => T,
): T | null {
  const { hva, size, write, atomic } = access;
  if (hva % size !== 0) throw new UserAccessAlignmentError(hva, size);
  // `might_fault`: whether or not this access will.
  if (!atomic) cpu.lockdep.mightSleep();
  if (!isInMappingWindow(hva)) return null;
  do {
    cpu.rcuReadLock();
    const pfn = hardwareWalk(mm, cpu, hvaToIndex(hva), write);
    const result = pfn === PAGE_FAULT ? null : use(userWord(wordAddress(pfn, hva), hva, size));
    cpu.rcuReadUnlock();
    if (result !== null) return result;
  } while (!atomic && doUserAddrFault(mm, cpu, hva, write));
  return null;
}

/** The 64-bit word behind `hva` in the frame `pfn`; `NULL_ADDRESS` for a host data page, which has no bytes. */
function wordAddress(pfn: number, hva: number): Address {
  if (pfn >= FIRST_HOST_PFN) return NULL_ADDRESS;
  const within = hva % PAGE_SIZE;
  return (pfn * PAGE_SIZE + within - (within % 8)) as Address;
}

function checkValue(value: bigint, size: UserAccessSize): void {
  if (BigInt.asUintN(size * 8, value) !== value) throw new UserAccessValueError(value, size);
}
