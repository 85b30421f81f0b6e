const READ_ONLY_WORD = 0;
const WRITABLE_WORD = 1;
const FAULTED_VCPUS_WORD = 2;
const WORDS = 3;

/**
 * What the threads of mmu_stress_test tell each other in globals: which `mprotect` has returned, and how many vCPUs have met a fault since.
 * They belong to the test, not to the system under test, so they are reached by plain `Atomics` and appear in no machine's
 * accesses.
 */
export class StressSignals {
  private readonly words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
  }

  /** Memory for the signals of one run, nothing signalled. */
  static createBuffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT);
  }

  /** `mprotect_ro_done`: what begins after this is seen meets read-only memory. */
  get isReadOnly(): boolean {
    return Atomics.load(this.words, READ_ONLY_WORD) !== 0;
  }

  /** Whether the memory has been made writable again. */
  get isWritable(): boolean {
    return Atomics.load(this.words, WRITABLE_WORD) !== 0;
  }

  /** `nr_ro_faults`: vCPUs that have met EFAULT. */
  get faultedVcpus(): number {
    return Atomics.load(this.words, FAULTED_VCPUS_WORD);
  }

  /** An `mprotect` of all memory has returned. */
  protectionDone(writable: boolean): void {
    Atomics.store(this.words, writable ? WRITABLE_WORD : READ_ONLY_WORD, 1);
  }

  /** One more vCPU has met EFAULT. */
  countFaultedVcpu(): void {
    Atomics.add(this.words, FAULTED_VCPUS_WORD, 1);
  }
}
