/** A fault that the guest's own tables give cause for, to be injected (`struct x86_exception`). */
export interface GuestFault {
  /** The address of the access, in bytes: guest-linear (CR2), or L2's physical address if `nested`. */
  readonly address: number;
  /**
   * Page-fault error code (`PFERR_*`). For a nested fault of AMD, bits 32 and 33 say as in hardware whether the final address or
   * a table of L2's was accessed. For EPT, bit 3 (RSVD) makes it a misconfiguration instead of a violation.
   */
  readonly errorCode: number;
  /** L1 gets a nested page fault (EPT violation or misconfiguration, NPF exit) instead of L2 a #PF. */
  readonly nested: boolean;
  /** EPT violations only: the exit qualification. */
  readonly exitQualification?: bigint;
}
