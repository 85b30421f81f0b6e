import { AddressSanitizerError, LockdepSplatError } from "@kvm-age/machine";
import {
  InvalidSpteTextError,
  SpteFormatOptionRangeError,
  UnsupportedSpteFormatOptionError,
} from "@kvm-age/spte";
import {
  AmbiguousPageError,
  BinaryTraceError,
  DamagedLineError,
  InvalidPageNameError,
  TruncatedTraceError,
  UnknownPageError,
} from "@kvm-age/trace";
import { CommanderError } from "commander";
import { UsageError } from "../options/errors.js";
import { ActorFailedError } from "../running/crew.js";
import { ExitCode } from "./exit-code.js";

const USAGE_ERRORS = [
  UsageError,
  InvalidSpteTextError,
  SpteFormatOptionRangeError,
  UnsupportedSpteFormatOptionError,
  AmbiguousPageError,
  BinaryTraceError,
  DamagedLineError,
  InvalidPageNameError,
  TruncatedTraceError,
  UnknownPageError,
] as const;

const CHECK_ERRORS = [LockdepSplatError, AddressSanitizerError, ActorFailedError] as const;

/** How an error ends the command. */
export interface ErrorEnd {
  readonly exitCode: ExitCode;
  /** What to say on standard error; `null` when commander has said it. */
  readonly message: string | null;
}

/** Usage mistakes become one line, findings of a checker their message; anything else is our bug, with its stack. */
export function endOfError(error: unknown): ErrorEnd {
  if (error instanceof CommanderError) {
    return { exitCode: error.exitCode === 0 ? ExitCode.ok : ExitCode.usage, message: null };
  }
  if (USAGE_ERRORS.some((known) => error instanceof known)) {
    return { exitCode: ExitCode.usage, message: `kvm-age: ${(error as Error).message}` };
  }
  if (CHECK_ERRORS.some((known) => error instanceof known)) {
    return { exitCode: ExitCode.checkFailed, message: `check failed: ${(error as Error).message}` };
  }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { exitCode: ExitCode.checkFailed, message: `kvm-age: internal error, please report:\n${detail}` };
}
