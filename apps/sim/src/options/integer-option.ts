import { InvalidArgumentError } from "commander";

const INTEGER = /^[+-]?(0x[0-9a-f]+|[0-9]+)$/i;

/**
 * A parser for commander: integers from `low` to `high`, decimal or hexadecimal.
 * @throws InvalidArgumentError (of commander) naming the range, for any other text
 */
export function integerOption(low: number, high: number): (text: string) => number {
  return (text) => {
    const sign = text.startsWith("-") ? -1 : 1;
    const value = INTEGER.test(text) ? sign * Number(text.replace(/^[+-]/, "")) : Number.NaN;
    if (!(value >= low && value <= high))
      throw new InvalidArgumentError(`Allowed: integers ${low} to ${high}.`);
    return value;
  };
}
