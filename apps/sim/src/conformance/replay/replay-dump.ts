import { type AgevmNote, decimal, hexadecimal } from "../input/agevm-note.js";
import type { ModelEntry } from "../model/model-tables.js";
import type { ReplayContext } from "./replay-context.js";

/** A walk of the live page tables that the VMM wrote down, entry by entry. */
export class DumpReplay {
  private expected: ModelEntry[] = [];
  private next = 0;

  constructor(private readonly context: ReplayContext) {}

  begin(note: AgevmNote, line: number): void {
    const { context } = this;
    const root = context.root();
    const kernelRoot = hexadecimal(note, "root");
    const same = context.tablePages.same(root, kernelRoot);
    context.compareValue(
      "entry",
      line,
      "root",
      "the vCPU's root",
      same ? "the vCPU's root" : "another table",
    );
    this.expected = context.tables.range(root, hexadecimal(note, "first"), decimal(note, "n"));
    this.next = 0;
  }

  entry(note: AgevmNote, line: number): void {
    const { context } = this;
    const level = decimal(note, "level");
    const value = BigInt(`0x${note.values.get("val")}`);
    this.adopt(this.expected[this.next], value);
    const model = this.reread(this.next++);
    const kernel = `level ${level} gfn ${hexadecimal(note, "gfn").toString(16)} ${value.toString(16)}`;
    if (model === undefined) {
      context.mismatch("entry", line, "an entry of the dump", kernel, "(not present)");
      return;
    }
    const same =
      model.level === level &&
      model.gfn === hexadecimal(note, "gfn") &&
      context.sameEntry(value, model.spte, level) &&
      context.tablePages.same(model.address, hexadecimal(note, "sptep"));
    const text = `level ${model.level} gfn ${model.gfn.toString(16)} ${model.spte.toString(16)}`;
    if (same) context.report.match("entry");
    else context.mismatch("entry", line, "an entry of the dump", kernel, text);
  }

  /** What a guest did unobserved shows here. */
  private adopt(entry: ModelEntry | undefined, value: bigint): void {
    if (entry?.last !== true) return;
    if (this.context.guest.areUnknown(entry.gfn)) this.context.silent.adopt(entry.gfn, entry.level, value);
    this.context.guest.seen(entry.gfn);
  }

  private reread(index: number): ModelEntry | undefined {
    const entry = this.expected[index];
    if (entry === undefined) return undefined;
    return { ...entry, spte: this.context.vm.cpu.readOnce(entry.address) as ModelEntry["spte"] };
  }

  end(note: AgevmNote, line: number): void {
    const count = decimal(note, "entries");
    if (this.next !== count)
      this.context.mismatch("entry", line, "notes of the dump's entries", String(count), String(this.next));
    // A walk that knows entries by KVM's own present bit finds none: PDPTEs, above the pages of a three-level root, do not have it.
    if (count === 0 && this.context.rootPageLevel === 2) return;
    this.context.compareValue(
      "entry",
      line,
      "entries of the dump",
      String(count),
      String(this.expected.length),
    );
  }
}
