import ora from "ora";

/** Tells the user what is going on during long work. */
export interface Progress {
  /** Replaces the line on show. */
  update(text: string): void;
  /** Takes the line away; `update` brings it back. */
  stop(): void;
}

/** Says nothing. */
export const noProgress: Progress = Object.freeze({ update: () => {}, stop: () => {} });

/** A spinner on a terminal that says how wide it is (of 0 columns, ora would count lines without end), otherwise nothing. */
export function terminalProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  if (!stream.isTTY || !(stream.columns > 0)) return noProgress;
  const spinner = ora({ stream, discardStdin: false });
  return {
    update: (text) => {
      spinner.text = text;
      if (!spinner.isSpinning) spinner.start();
    },
    stop: () => {
      spinner.stop();
    },
  };
}

/** The same progress, with a text in front of each line. */
export function prefixProgress(progress: Progress, prefix: string): Progress {
  return { ...progress, update: (text) => progress.update(`${prefix}: ${text}`) };
}
