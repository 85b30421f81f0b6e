import { FAULT_ERRNO, type FaultErrno, type PageFaultResult } from "@kvm-age/vcpu";

function isFaultErrno(name: string): name is FaultErrno {
  return name in FAULT_ERRNO;
}

/** How a fault ends that the MMU could not handle, for the errno name that it left. */
export function failedFault(errno: string | null): PageFaultResult {
  return { errno: errno !== null && isFaultErrno(errno) ? errno : "EFAULT" };
}
