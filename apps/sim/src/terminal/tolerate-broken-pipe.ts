const USAGE = 2;

/**
 * Lets the reader of a pipe leave early (`| head`): the process then ends without a message. Any other failure of an output, such as a full
 * disk, ends it with one line and the exit code of unusable input.
 */
export function tolerateBrokenPipe(...streams: readonly NodeJS.WriteStream[]): void {
  for (const stream of streams) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE") process.exit();
      process.stderr.write(`cannot write the output: ${error.message}\n`);
      process.exit(USAGE);
    });
  }
}
