import { once } from "node:events";
import { watchInterruption } from "../terminal/interruption.js";
import { terminalProgress } from "../terminal/progress.js";
import type { RunContext } from "../terminal/run-context.js";
import { type Style, styleFor } from "../terminal/style.js";
import { ExitCode } from "./exit-code.js";

/** One call of the command: where its words go, and what it will exit with. */
export interface Session {
  /** Data, to standard output; no newline is added. */
  readonly print: (text: string) => void;
  /** Waits until what was printed has gone out, so that long output does not pile up in memory. */
  readonly drained: () => Promise<void>;
  /** A line for the user, to standard error. */
  readonly say: (line: string) => void;
  /** Look of standard output. */
  readonly style: Style;
  exitCode: ExitCode;
  /** Runs long work with progress and Ctrl-C; sets the exit code when it was interrupted. */
  readonly work: <Result>(task: (context: RunContext) => Promise<Result>) => Promise<Result>;
}

/** The session of this process. */
export function createSession(): Session {
  const say = (line: string): void => {
    process.stderr.write(`${line}\n`);
  };
  const session: Session = {
    print: (text) => process.stdout.write(text),
    drained: async () => {
      if (process.stdout.writableNeedDrain) await once(process.stdout, "drain");
    },
    say,
    style: styleFor(process.stdout, process.env),
    exitCode: ExitCode.ok,
    work: async (task) => {
      const progress = terminalProgress();
      const interruption = watchInterruption(say);
      try {
        return await task({ signal: interruption.signal, progress });
      } finally {
        progress.stop();
        interruption.release();
        if (interruption.signal.aborted) session.exitCode = ExitCode.interrupted;
      }
    },
  };
  return session;
}
