import { describeSpteChange, explainSpte, type PgLevel, type Spte, type SpteFormat } from "@kvm-age/spte";
import { describedFields, type Mismatch } from "./conformance-report.js";
import { type DescribedOperation, describeOperation } from "./describe-operation.js";
import type { OperationsByLine } from "./operations-by-line.js";

/** Fields of events that hold an SPTE. */
const SPTE_FIELDS: ReadonlySet<string> = new Set(["old_spte", "new_spte", "spte"]);
/** How an entry of a dump is described: `level … gfn … value`. */
const ENTRY = /^level (\d) gfn [0-9a-f]+ ([0-9a-f]+)$/;

/** A mismatch with what helps to understand it. */
export interface ExplainedMismatch extends Mismatch {
  /** How the SPTEs of differing fields differ, in words. */
  readonly words: readonly string[];
  /** What the kernel was doing; null if the line belongs to nothing. */
  readonly operation: DescribedOperation | null;
}

/** Explains a mismatch of a trace with SPTEs of this format. */
export function explainMismatch(
  format: SpteFormat,
  operations: OperationsByLine,
  mismatch: Mismatch,
): ExplainedMismatch {
  const operation = operations.find(mismatch.line);
  return {
    ...mismatch,
    words: mismatch.kind === "entry" ? entryWords(format, mismatch) : fieldWords(format, mismatch),
    operation: operation === null ? null : describeOperation(operation),
  };
}

function fieldWords(format: SpteFormat, { fields, kernel, model }: Mismatch): string[] {
  const [theirs, ours] = [describedFields(kernel), describedFields(model)];
  const level = theirs.get("level");
  return fields
    .filter((field) => SPTE_FIELDS.has(field))
    .flatMap((field) => spteWords(format, field, [theirs.get(field)!, ours.get(field)!], level));
}

function entryWords(format: SpteFormat, { kernel, model }: Mismatch): string[] {
  const [theirs, ours] = [ENTRY.exec(kernel), ENTRY.exec(model)];
  if (theirs === null || ours === null || theirs[1] !== ours[1]) return [];
  return spteWords(format, "entry", [theirs[2]!, ours[2]!], theirs[1]);
}

/** What differs between the kernel's value and the model's, both in hexadecimal; of entries of different kinds, what each is. */
function spteWords(
  format: SpteFormat,
  field: string,
  values: readonly [kernel: string, model: string],
  levelText: string | undefined,
): string[] {
  const level = levelText === undefined ? undefined : (Number(levelText) as PgLevel);
  const [kernel, model] = values.map((value) => BigInt(`0x${value}`) as Spte) as [Spte, Spte];
  const changes = describeSpteChange(format, kernel, model, level);
  const words = changes.map(
    ({ bits, name, meaning }) => `${field}, kernel -> model: ${name} (bits ${bits}) ${meaning}`,
  );
  if (changes[0]?.name !== "kind") return words;
  const states = [kernel, model].map((spte) => explainSpte(format, spte, level).states.join("; "));
  const sides = [`${field} of the kernel: ${states[0]}`, `${field} of the model: ${states[1]}`];
  return [...words, ...sides.filter((_, side) => states[side] !== "")];
}
