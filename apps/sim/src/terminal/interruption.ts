/** Exit code of a process that the user interrupted: 128 + SIGINT. */
export const INTERRUPTED_EXIT_CODE: number = 130;

/** What stands between Ctrl-C and the process; tests put another in its place. */
export interface SignalSource {
  on(signal: "SIGINT", listener: () => void): unknown;
  off(signal: "SIGINT", listener: () => void): unknown;
  exit(code: number): void;
}

/** A watch over Ctrl-C while something runs. */
export interface Interruption {
  readonly signal: AbortSignal;
  /** Gives Ctrl-C back to the system. */
  release(): void;
}

/**
 * Takes over Ctrl-C: the first aborts the signal, so that the work stops and prints what there is; the second
 * ends the process at once with exit code 130.
 */
export function watchInterruption(say: (text: string) => void, source: SignalSource = process): Interruption {
  const controller = new AbortController();
  const listener = (): void => {
    if (controller.signal.aborted) source.exit(INTERRUPTED_EXIT_CODE);
    controller.abort();
    say("interrupted: stopping and printing what there is; Ctrl-C again quits at once");
  };
  source.on("SIGINT", listener);
  return { signal: controller.signal, release: () => source.off("SIGINT", listener) };
}
