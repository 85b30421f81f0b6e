import { RetPf } from "@kvm-age/page-fault";
import type { GuestFault } from "../guest-walk/guest-fault.js";

/** What one fault came to, for whoever runs the vCPU. Local to one operation. */
export class ShadowFaultResult {
  /**
   * `retry`, `fixed`, `spurious`: enter the guest again, with `guestFault` injected if there is one. `emulate`: carry the access
   * out for the guest. `error`: `errno` says why the vCPU cannot go on.
   */
  ret: RetPf = RetPf.invalid;
  /** The fault that the guest's own tables give cause for, to be injected. */
  guestFault: GuestFault | null = null;
  /** Errno name with `error`; `EHWPOISON` with `retry`: the task is to be signalled. */
  errno: string | null = null;
  /**
   * `EMULTYPE_WRITE_PF_TO_SP`, with `emulate`: the write was to a guest page table on its own path, so that taking the write
   * protection away instead would bring the same fault again.
   */
  writeFaultToShadowPgtable = false;
  /**
   * `EMULTYPE_ALLOW_RETRY_PF`, with `emulate`: a write that is none to a page table may be let through by
   * `kvmMmuUnprotectGfnAndRetry` instead of being carried out.
   */
  allowRetry = false;
}
