import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

// The built command, as a user has it.
const CLI = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Starts `kvm-age`. */
export function startCommand(args: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [CLI, ...args], { env: { ...process.env, NO_COLOR: "1" } });
  const [out, err]: [string[], string[]] = [[], []];
  child.stdout.setEncoding("utf8").on("data", (text: string) => out.push(text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => err.push(text));
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code) => resolve({ code, out: out.join(""), err: err.join("") }));
  });
  return { child, ended };
}

/** Runs `kvm-age` to its end. */
export function runCommand(args: readonly string[]): Promise<Ended> {
  return startCommand(args).ended;
}
