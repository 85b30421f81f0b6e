import type { Cpu } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";

/** Outcome of `UserMemory.cmpxchgUser`: exchanged, found another value, or the address is not accessible. */
export type UserCmpxchgResult = "done" | "changed" | "fault";

/**
 * Guest memory through the address space of the VM's owner, which is how KVM reads and writes guest page tables. An address is
 * naturally aligned. With `atomic` nothing sleeps (`pagefault_disable`): a page that is not there is a fault.
 */
export interface UserMemory {
  /** `__get_user`: the entry of 4 or 8 bytes at `hva`, null if it cannot be read. */
  loadUser(cpu: Cpu, hva: Hva, size: 4 | 8, atomic: boolean): bigint | null;
  /** `__put_user`: false if the address cannot be written. */
  storeUser(cpu: Cpu, hva: Hva, size: 4 | 8, value: bigint, atomic: boolean): boolean;
  /** `__try_cmpxchg_user`: one full-order compare-exchange. Sleeps if the page is not there. */
  cmpxchgUser(cpu: Cpu, hva: Hva, size: 4 | 8, expected: bigint, replacement: bigint): UserCmpxchgResult;
}
