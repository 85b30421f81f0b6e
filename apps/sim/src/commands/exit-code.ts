import { INTERRUPTED_EXIT_CODE } from "../terminal/interruption.js";

/** Exit codes of the command; part of its interface, and in its help. */
export const ExitCode = {
  ok: 0,
  checkFailed: 1,
  usage: 2,
  interrupted: INTERRUPTED_EXIT_CODE,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** The paragraph about exit codes that ends every help text. */
export const exitCodeHelp: string = `
Exit codes:
  ${ExitCode.ok}    everything ran and passed its checks
  ${ExitCode.checkFailed}    a check failed
  ${ExitCode.usage}    wrong usage or unusable input
  ${ExitCode.interrupted}  interrupted (Ctrl-C); what there was has been printed`;
