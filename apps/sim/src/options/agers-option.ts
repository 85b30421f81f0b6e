import { Option } from "commander";
import { integerOption } from "./integer-option.js";

/** Most aging threads of a scenario. */
export const MAX_AGERS: number = 16;

/**
 * `--agers`.
 * @param fewest 0 if the scenario makes sense without aging
 */
export function agersOption(description: string, fewest: 0 | 1): Option {
  return new Option("--agers <n>", `${description}, ${fewest} to ${MAX_AGERS}`)
    .argParser(integerOption(fewest, MAX_AGERS))
    .default(1);
}
