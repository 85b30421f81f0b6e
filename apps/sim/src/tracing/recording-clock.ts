import type { Address } from "@kvm-age/machine";

/** The clock of a recording as plain data: what its threads share. */
export interface RecordingClockHandle {
  readonly words: SharedArrayBuffer;
  /** Zero of the recording, by `process.hrtime`, which all threads of a process read alike. */
  readonly startNs: bigint;
  /** Events to keep; `Infinity` for all. */
  readonly limit: number;
}

const SEQUENCE_WORD = 0;
const RECORDED_WORD = 16;
const FIRST_TURNSTILE = 32;
/** Turnstiles stand on cache lines of their own. */
const TURNSTILE_WORDS = 16;
const TURNSTILES = 1024;
const SPINS = 200;
const NAP_MS = 0.05;

/** @param limit events to keep, below 2^31, or `Infinity` */
export function createRecordingClock(limit: number): RecordingClockHandle {
  const words = new SharedArrayBuffer((FIRST_TURNSTILE + TURNSTILES * TURNSTILE_WORDS) * 4);
  return { words, startNs: process.hrtime.bigint(), limit };
}

/**
 * One thread's view of the clock of a recording. `ns` and `sequence` are the last reading: nanoseconds since the recording began,
 * and a number that tells readings of the same nanosecond apart (32 bits, it wraps around).
 */
export class RecordingClock {
  ns = 0;
  sequence = 0;
  private readonly words: Int32Array;
  private readonly startNs: bigint;
  private readonly limit: number;

  constructor(handle: RecordingClockHandle) {
    this.words = new Int32Array(handle.words);
    this.startNs = handle.startNs;
    this.limit = handle.limit;
  }

  /** Reads the clock. */
  read(): void {
    this.ns = Number(process.hrtime.bigint() - this.startNs);
    this.sequence = Atomics.add(this.words, SEQUENCE_WORD, 1);
  }

  /**
   * Passes the turnstile of the word at `address` and reads the clock. Until `leave`, no other thread passes it: so the readings of the writes
   * of one word are in the order of the writes, even if a thread is descheduled between the two. The clock is read
   * before the write, so whoever saw the write reads a later time.
   */
  enter(address: Address): void {
    const turnstile = turnstileOf(address);
    for (let tries = 1; Atomics.compareExchange(this.words, turnstile, 0, 1) !== 0; tries++) {
      // Whoever is inside may have been descheduled; leaving does not wake anybody, so as to cost nothing.
      if (tries % SPINS === 0) Atomics.wait(this.words, turnstile, 1, NAP_MS);
    }
    this.read();
  }

  /** Lets the next thread pass. */
  leave(address: Address): void {
    Atomics.store(this.words, turnstileOf(address), 0);
  }

  /** Takes one of the events that the limit allows; false if there is none left. */
  takeEvent(): boolean {
    if (this.limit === Number.POSITIVE_INFINITY) return true;
    // Looked at first, so that the count cannot run over.
    if (Atomics.load(this.words, RECORDED_WORD) >= this.limit) return false;
    return Atomics.add(this.words, RECORDED_WORD, 1) < this.limit;
  }
}

function turnstileOf(address: Address): number {
  return FIRST_TURNSTILE + ((address >>> 3) % TURNSTILES) * TURNSTILE_WORDS;
}
