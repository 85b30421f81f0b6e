import { type Address, type ArenaMemory, offset } from "@kvm-age/machine";

// Words by which the main thread steers the actors, from a run's control block. They belong to the harness, not to
// the simulated system, so they are reached by plain `Atomics` and appear in no machine's accesses.

/** u32: 1 once everybody is to stop. */
export function stopWord(control: Address): Address {
  return control;
}

/** u32: number of the last step whose foreground actors are done; background actors then finish theirs. */
export function finishedStepWord(control: Address): Address {
  return offset(control, 4);
}

/** u32: number of the step that may run; actors wait here, so that they start together. */
export function gateWord(control: Address): Address {
  return offset(control, 8);
}

/** u32: units of work done by all actors, for the progress line. */
export function progressWord(control: Address): Address {
  return offset(control, 64);
}

/** Bytes of a control block. */
export const CONTROL_BYTES = 128;

/** One thread's hold on a control block. */
export class Control {
  private readonly words: Int32Array;

  constructor(
    memory: ArenaMemory,
    private readonly block: Address,
  ) {
    this.words = new Int32Array(memory.buffer);
  }

  get isStopping(): boolean {
    return this.load(stopWord(this.block)) !== 0;
  }

  /** Makes every actor stop at its next look, and lets waiting ones through. */
  stop(): void {
    this.store(stopWord(this.block), 1);
  }

  /** True once step `step` is over for its foreground actors, or everything is to stop. */
  isOver(step: number): boolean {
    return this.isStopping || this.load(finishedStepWord(this.block)) >= step;
  }

  finishStep(step: number): void {
    this.store(finishedStepWord(this.block), step);
  }

  /** Lets the actors of step `step` go. */
  openGate(step: number): void {
    this.store(gateWord(this.block), step);
  }

  /** Waits until step `step` may run. */
  waitAtGate(step: number): void {
    const index = gateWord(this.block) >>> 2;
    for (;;) {
      const open = Atomics.load(this.words, index);
      if (open >= step || this.isStopping) return;
      Atomics.wait(this.words, index, open, 100);
    }
  }

  /** Sleeps for `ms`, less if step `step` ends before. */
  sleep(ms: number, step: number): void {
    const until = performance.now() + ms;
    const index = finishedStepWord(this.block) >>> 2;
    for (let left = ms; left > 0 && !this.isOver(step); left = until - performance.now()) {
      Atomics.wait(this.words, index, Atomics.load(this.words, index), Math.min(left, 100));
    }
  }

  addProgress(units: number): void {
    Atomics.add(this.words, progressWord(this.block) >>> 2, units);
  }

  get progress(): number {
    return this.load(progressWord(this.block)) >>> 0;
  }

  private load(word: Address): number {
    return Atomics.load(this.words, word >>> 2);
  }

  private store(word: Address, value: number): void {
    Atomics.store(this.words, word >>> 2, value);
    Atomics.notify(this.words, word >>> 2);
  }
}
