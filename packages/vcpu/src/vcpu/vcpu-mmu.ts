import type { Address, Cpu } from "@kvm-age/machine";
import type { FaultErrno } from "../fault/fault-errno.js";

/**
 * What `VcpuMmu.handlePageFault` says: `retry` re-enters the guest, which faults again if it must (`RET_PF_RETRY`,
 * `FIXED`, `SPURIOUS`); `emulate` ends the access (`RET_PF_EMULATE`); an errno ends it with a failure (exit to user
 * space).
 */
export type PageFaultResult = "retry" | "emulate" | { readonly errno: FaultErrno };

/** What the hardware needs of whoever owns its page tables: one object per vCPU, called on the vCPU's thread only. */
export interface VcpuMmu {
  /**
   * `mmu->root.hpa`: the frame of the root table, `NULL_ADDRESS` if none is loaded. It may change only inside the
   * other methods, that is, while the vCPU is outside the guest.
   */
  rootHpa(cpu: Cpu): Address;
  /** `kvm_mmu_load`: called before an entry that finds no root. The vCPU drops its translations afterwards. */
  load(cpu: Cpu): void;
  /**
   * `kvm_mmu_page_fault`. The vCPU is outside the guest.
   *
   * @param gpa guest-physical address of the access, in bytes
   * @param errorCode in PFERR form, `GUEST_FINAL` included
   */
  handlePageFault(cpu: Cpu, gpa: number, errorCode: bigint): PageFaultResult;
  /**
   * The requests taken on the way into the guest, without `REQUEST_TLB_FLUSH`, which the vCPU serves by itself
   * afterwards. Called only with at least one bit set.
   */
  handleRequests(cpu: Cpu, requests: number): void;
}
