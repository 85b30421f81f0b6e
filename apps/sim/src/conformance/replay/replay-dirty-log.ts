import { type AgevmNote, decimal } from "../input/agevm-note.js";
import { AGEVM_TEST_SLOT } from "../input/agevm-slots.js";
import type { ReplayContext } from "./replay-context.js";

/** `KVM_GET_DIRTY_LOG`: the VMM's notes come after the call, whose only own events are those of entries that it write-protects. */
export class DirtyLogReplay {
  private log: BigUint64Array | null = null;
  /** Slots that are being logged. */
  private readonly logged = new Set<number>();

  constructor(private readonly context: ReplayContext) {}

  /** The call. */
  read(): void {
    this.log = this.context.vm.getDirtyLog(AGEVM_TEST_SLOT);
  }

  /** The VMM says whether the test slot is logged. */
  switched(on: boolean): void {
    if (on) this.logged.add(AGEVM_TEST_SLOT);
    else this.logged.delete(AGEVM_TEST_SLOT);
  }

  /**
   * Without notes: the log of the pages' slot is switched on at the first sign of it. Every further one is somebody who reads the log, or clears
   * it in part (`KVM_CLEAR_DIRTY_LOG`); which pages that concerns is input.
   */
  armedFor(gfns: readonly number[]): void {
    const { vm, slots } = this.context;
    const slot = slots.slotOf(gfns[0]!);
    if (slot === null) return;
    if (this.logged.has(slot.slot)) vm.armDirtyLog(slot, gfns);
    else vm.setSlot(slot, true);
    this.logged.add(slot.slot);
  }

  /** Whether the slot of a page is logged. */
  isLogged(gfn: number | null): boolean {
    const slot = gfn === null ? null : this.context.slots.slotOf(gfn);
    return slot !== null && this.logged.has(slot.slot);
  }

  /** Without notes: the log of a page's slot is switched off, and small pages become huge again. */
  disarmFor(gfn: number): void {
    const slot = this.context.slots.slotOf(gfn)!;
    this.context.vm.setSlot(slot, false);
    this.logged.delete(slot.slot);
  }

  /** `dirty_bitmap word=…`: one word that is not zero. */
  word(note: AgevmNote, line: number): void {
    this.readIfSilent(line);
    const index = decimal(note, "word");
    const kernel = BigInt(`0x${note.rest[0]}`);
    const model = this.log![index] ?? 0n;
    this.context.compareValue(
      "bitmap",
      line,
      `dirty bitmap word ${index}`,
      kernel.toString(16),
      model.toString(16),
    );
  }

  /** `getlog dirty=…`: the number of dirty pages. */
  end(note: AgevmNote, line: number): void {
    this.readIfSilent(line);
    const model = this.log!.reduce((sum, word) => sum + popcount(word), 0);
    this.context.compareValue("bitmap", line, "dirty pages", String(decimal(note, "dirty")), String(model));
    this.log = null;
  }

  /** A call that protected nothing has no event of its own. */
  private readIfSilent(line: number): void {
    if (this.log !== null) return;
    this.read();
    for (const event of this.context.takeOutputs()) this.context.extra(event, line);
  }
}

function popcount(word: bigint): number {
  return word.toString(2).replaceAll("0", "").length;
}
