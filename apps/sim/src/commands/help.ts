import type { Command } from "commander";
import { exitCodeHelp } from "./exit-code.js";

/** Puts examples above and exit codes below the help of a command. */
export function withExamples(
  command: Command,
  examples: readonly (readonly [line: string, does: string])[],
): Command {
  const lines = examples.flatMap(([line, does]) => [`  $ ${line}`, `      ${does}`]);
  return command.addHelpText("before", `Examples:\n${lines.join("\n")}\n`).addHelpText("after", exitCodeHelp);
}

/** The option that every command with results has. */
export const JSON_OPTION: readonly [flags: string, description: string] = [
  "--json [file]",
  "the result as JSON on standard output, or in a file beside the text",
];
