/** Report of `stress-read-only`. */
export interface StressReadOnlyReport {
  /** Stores that succeeded. */
  readonly stores: number;
  /** Stores that ended in EFAULT. */
  readonly efaults: number;
  /** Of `stores`, those that began after `mprotect(PROT_READ)` had returned: a broken promise each. */
  readonly lateStores: number;
}

/** Report of `stress-writable`. */
export interface StressWritableReport {
  /** Stores that succeeded: one for each page, unless interrupted. */
  readonly stores: number;
  /** Stores that ended in EFAULT and were tried again. */
  readonly efaults: number;
  /** Of `efaults`, those that began after `mprotect(PROT_READ | PROT_WRITE)` had returned: a broken promise each. */
  readonly lateEfaults: number;
}
