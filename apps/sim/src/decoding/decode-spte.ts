import {
  createSpteFormat,
  explainSpte,
  linux73,
  linux615,
  type MmuMode,
  type PgLevel,
  type RuleSet,
  type Spte,
  type SpteExplanation,
  type SpteFormat,
} from "@kvm-age/spte";
import { isPlausible } from "./plausible.js";

/** All modes, the likeliest first. */
export const DECODE_MODES: readonly MmuMode[] = ["ept", "npt", "shadow", "pae"];
/** All rule sets, the default first. */
const ALL_RULE_SETS: readonly RuleSet[] = [linux73, linux615];

/** What is known about where a value comes from; what is absent is not known. */
export interface DecodeInput {
  readonly mode?: MmuMode;
  readonly ruleSet?: RuleSet;
  /** Default true. */
  readonly adBits?: boolean;
  /** Default false. */
  readonly execOnly?: boolean;
  readonly level?: PgLevel;
  /** 32 to 52; default 46 for EPT, 48 otherwise. */
  readonly maxPhyAddr?: number;
}

/** A value in words. */
export interface DecodedSpte {
  readonly spte: Spte;
  /** One explanation for each meaning the value can have; modes of the same meaning are named together. */
  readonly readings: readonly SpteExplanation[];
  /** What the reader should know about the choice of readings. */
  readonly note: string | null;
}

function formatOf(mode: MmuMode, ruleSet: RuleSet, input: DecodeInput): SpteFormat {
  const { adBits, execOnly, maxPhyAddr } = input;
  return createSpteFormat({
    mode,
    ruleSet,
    ...(adBits === undefined ? {} : { adBits }),
    ...(execOnly === undefined ? {} : { execOnly }),
    ...(maxPhyAddr === undefined ? {} : { maxPhyAddr }),
  });
}

/** Modes that come into question: the one given, or those in which the other options exist. */
function candidateModes(input: DecodeInput): readonly MmuMode[] {
  if (input.mode !== undefined) return [input.mode];
  return input.adBits === false || input.execOnly === true ? ["ept"] : DECODE_MODES;
}

/** Joins explanations that differ only in the mode. */
function joinEqual(explanations: readonly SpteExplanation[], ruleSet: RuleSet): SpteExplanation[] {
  const byMeaning = new Map<string, SpteExplanation[]>();
  for (const explanation of explanations) {
    const { kind, fields, states } = explanation;
    const words = fields.map(({ bits, name, meaning }) => [bits, name, meaning]);
    const key = JSON.stringify([kind, words, states]);
    byMeaning.set(key, [...(byMeaning.get(key) ?? []), explanation]);
  }
  return [...byMeaning.values()].map((equal) => {
    const modes = equal.map(({ readAs }) => readAs.slice(0, readAs.indexOf(",")));
    return { ...equal[0]!, readAs: `${modes.join(" ")}, ${ruleSet.name}` };
  });
}

function explainUnder(
  spte: Spte,
  formats: readonly SpteFormat[],
  level: PgLevel | undefined,
): SpteExplanation[] {
  return joinEqual(
    formats.map((format) => explainSpte(format, spte, level)),
    formats[0]!.rules,
  );
}

/** Readings of a value whose mode is not given: those under which KVM could have written it. */
function plausibleReadings(spte: Spte, input: DecodeInput): DecodedSpte {
  const ruleSets = input.ruleSet === undefined ? ALL_RULE_SETS : [input.ruleSet];
  for (const ruleSet of ruleSets) {
    const formats = candidateModes(input).map((mode) => formatOf(mode, ruleSet, input));
    const plausible = formats.filter((format) => isPlausible(format, spte, input.level));
    if (plausible.length === 0) continue;
    const unexpected = ruleSet !== ruleSets[0];
    const note = unexpected ? `not a value of ${ruleSets[0]!.name}; read under ${ruleSet.name}` : null;
    return { spte, readings: explainUnder(spte, plausible, input.level), note };
  }
  const fallback = formatOf("ept", ruleSets[0]!, input);
  const names = ruleSets.map(({ name }) => name).join(" or ");
  const note = `not a value that ${names} writes in any mode; read as ept`;
  return { spte, readings: explainUnder(spte, [fallback], input.level), note };
}

/**
 * Explains a value: in the mode given, or else in every mode in which KVM could have written it, under the
 * first rule set for which there is one.
 * @throws SpteFormatOptionRangeError, UnsupportedSpteFormatOptionError for options the format does not have
 */
export function decodeSpte(spte: Spte, input: DecodeInput): DecodedSpte {
  if (input.mode === undefined) return plausibleReadings(spte, input);
  const format = formatOf(input.mode, input.ruleSet ?? linux73, input);
  return { spte, readings: explainUnder(spte, [format], input.level), note: null };
}
