import { InvalidArgumentError } from "commander";
import { UsageError } from "./errors.js";
import { parseSize } from "./parse-size.js";

/**
 * `parseSize` as a parser for commander.
 * @throws InvalidArgumentError (of commander) for what `parseSize` refuses
 */
export function sizeOption(text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    if (error instanceof UsageError) throw new InvalidArgumentError(`${error.message}.`);
    throw error;
  }
}
