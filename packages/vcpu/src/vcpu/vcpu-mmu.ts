import type { Address, Cpu } from "@kvm-age/machine";
import type { FaultErrno } from "../fault/fault-errno.js";

/**
 * What `VcpuMmu.handlePageFault` says: `retry` re-enters the guest, which faults again if it must (`RET_PF_RETRY`,
 * `FIXED`, `SPURIOUS`); `emulate` ends the access (`RET_PF_EMULATE`); `inject` ends it with a page fault of the guest, which
 * the MMU has queued with `injectPageFault`; an errno ends it with a failure (exit to user space).
 */
export type PageFaultResult = "retry" | "emulate" | "inject" | { readonly errno: FaultErrno };

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
   * @param address in bytes: over EPT and NPT guest-physical, of the access or of an entry of the guest's own page tables;
   *   over shadow tables guest-linear, of the access
   * @param errorCode in PFERR form; over EPT and NPT with `GUEST_FINAL` or `GUEST_PAGE`
   */
  handlePageFault(cpu: Cpu, address: number, errorCode: bigint): PageFaultResult;
  /**
   * The requests taken on the way into the guest, without `REQUEST_TLB_FLUSH`, which the vCPU serves by itself
   * afterwards. Called only with at least one bit set.
   */
  handleRequests(cpu: Cpu, requests: number): void;
}
