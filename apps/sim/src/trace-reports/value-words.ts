import { explainSpte, isShadowPresentPte, type Spte, type SpteFormat, spteToPfn } from "@kvm-age/spte";
import { entryLevel } from "@kvm-age/trace";
import { hex } from "./hex.js";

/** Values whose words are kept, per format; the same few come again and again. */
const MOST_KEPT = 4096;

const kept = new WeakMap<SpteFormat, Map<string, string>>();

function wordsOf(format: SpteFormat, spte: Spte, level: number | null): string {
  const known = level === null ? null : entryLevel(level);
  const { kind, states } = explainSpte(format, spte, known ?? undefined);
  const target = isShadowPresentPte(spte) ? [`pfn ${hex(spteToPfn(format, spte))}`] : [];
  return [kind, ...target, ...states].join(", ");
}

/**
 * A value in words: its kind, where it points to, what it is going through.
 * @param level null, or a number outside 1 to 5, if it is not known
 */
export function valueWords(format: SpteFormat, spte: Spte, level: number | null): string {
  const ofFormat = kept.get(format) ?? new Map<string, string>();
  const key = `${level}:${spte}`;
  const before = ofFormat.get(key);
  if (before !== undefined) return before;
  const words = wordsOf(format, spte, level);
  if (ofFormat.size >= MOST_KEPT) ofFormat.clear();
  kept.set(format, ofFormat.set(key, words));
  return words;
}
