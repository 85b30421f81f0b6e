import { runProgram } from "../../../src/commands/program.js";
import type { Session } from "../../../src/commands/session.js";
import { noProgress } from "../../../src/terminal/progress.js";
import { plainStyle } from "../../../src/terminal/style.js";

/** How a command ended, and what it said. */
export interface EndedHere {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line in this process, as it would look in a pipe. */
export async function runHere(...args: readonly string[]): Promise<EndedHere> {
  const [out, err]: [string[], string[]] = [[], []];
  const session: Session = {
    print: (text) => out.push(text),
    drained: async () => {},
    say: (line) => err.push(`${line}\n`),
    style: plainStyle,
    exitCode: 0,
    work: (task) => task({ signal: new AbortController().signal, progress: noProgress }),
  };
  await runProgram(session, args);
  return { code: session.exitCode, out: out.join(""), err: err.join("") };
}
