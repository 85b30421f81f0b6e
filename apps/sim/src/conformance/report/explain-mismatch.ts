import { describeSpteChange, explainSpte, type PgLevel, type Spte, type SpteFormat } from "@kvm-age/spte";
import type { Operation } from "../input/operation.js";
import { describedFields, type Mismatch } from "./conformance-report.js";
import { describeRecord, inputOf, operationOfLine } from "./operation-of-line.js";

/** Fields of events that hold an SPTE. */
const SPTE_FIELDS: ReadonlySet<string> = new Set(["old_spte", "new_spte", "spte"]);

/** A mismatch with what helps to understand it. */
export interface ExplainedMismatch extends Mismatch {
  /** How the SPTEs of differing fields differ, in words. */
  readonly words: readonly string[];
  /** What the kernel was doing; null if the line belongs to nothing. */
  readonly operation: ExplainedOperation | null;
}

/** An operation in words. */
export interface ExplainedOperation {
  /** Line of its first record. */
  readonly line: number;
  readonly text: string;
}

/** Explains a mismatch of a trace with SPTEs of this format. */
export function explainMismatch(
  format: SpteFormat,
  operations: readonly Operation[],
  mismatch: Mismatch,
): ExplainedMismatch {
  const operation = operationOfLine(operations, mismatch.line);
  return {
    ...mismatch,
    words: [...fieldWords(format, mismatch), ...entryWords(format, mismatch)],
    operation: operation === null ? null : explainOperation(operation),
  };
}

function explainOperation(operation: Operation): ExplainedOperation {
  const input = inputOf(operation);
  const first = operation.records[0]!;
  return input === null
    ? { line: first.line, text: `${describeRecord(first)} (its cause is not in the trace)` }
    : { line: input.line, text: describeRecord(input) };
}

function fieldWords(format: SpteFormat, { fields, kernel, model }: Mismatch): string[] {
  const [ours, theirs] = [describedFields(model), describedFields(kernel)];
  const level = theirs.has("level") ? (Number(theirs.get("level")) as PgLevel) : undefined;
  return fields
    .filter((field) => SPTE_FIELDS.has(field))
    .flatMap((field) => spteWords(format, spteOf(theirs.get(field)!), spteOf(ours.get(field)!), level));
}

function spteOf(hexadecimal: string): Spte {
  return BigInt(`0x${hexadecimal}`) as Spte;
}

/** Entries of a dump are described as `level … gfn … value`. */
function entryWords(format: SpteFormat, { kind, kernel, model }: Mismatch): string[] {
  const [theirs, ours] = [kernel, model].map((text) => /^level (\d) gfn [0-9a-f]+ ([0-9a-f]+)$/.exec(text));
  if (kind !== "entry" || theirs == null || ours == null || theirs[1] !== ours[1]) return [];
  return spteWords(format, spteOf(theirs[2]!), spteOf(ours[2]!), Number(theirs[1]) as PgLevel);
}

/** What differs between the kernel's value and the model's; of entries of different kinds, what each is. */
function spteWords(format: SpteFormat, kernel: Spte, model: Spte, level: PgLevel | undefined): string[] {
  const changes = describeSpteChange(format, kernel, model, level);
  const words = changes.map(({ bits, name, meaning }) => `bits ${bits}, ${name}: ${meaning}`);
  if (changes[0]?.name !== "kind") return words;
  const states = (spte: Spte): string =>
    explainSpte(format, spte, level).states.join("; ") || "nothing special";
  return [...words, `kernel: ${states(kernel)}`, `model: ${states(model)}`];
}
