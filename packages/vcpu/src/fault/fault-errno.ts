/** The errnos a fault can end with, by name, with Linux's x86 numbers. */
export const FAULT_ERRNO: {
  readonly ENOENT: 2;
  readonly EINTR: 4;
  readonly EIO: 5;
  readonly EAGAIN: 11;
  readonly ENOMEM: 12;
  readonly EFAULT: 14;
  readonly EINVAL: 22;
  readonly EHWPOISON: 133;
} = { ENOENT: 2, EINTR: 4, EIO: 5, EAGAIN: 11, ENOMEM: 12, EFAULT: 14, EINVAL: 22, EHWPOISON: 133 };

/** Name of an errno that a fault can end with. */
export type FaultErrno = keyof typeof FAULT_ERRNO;

/** The name of an errno number of `FAULT_ERRNO`; null for 0 and every other number. */
export function faultErrnoName(number: number): FaultErrno | null {
  for (const name of Object.keys(FAULT_ERRNO) as FaultErrno[]) {
    if (FAULT_ERRNO[name] === number) return name;
  }
  return null;
}
