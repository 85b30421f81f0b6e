import { createWriteStream } from "node:fs";
import { mkdtemp, realpath, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { TraceFileError } from "./errors.js";

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}

/**
 * The file that a recording becomes, and a directory of its own beside it for what is on the way there. A reader sees the
 * old file or the whole new one.
 */
export class TraceOutput {
  private constructor(
    /** As the user gave it. */
    readonly path: string,
    private readonly target: string,
    /** False for a pipe or a device, which is written to as it is. */
    private readonly isFile: boolean,
    readonly directory: string,
  ) {}

  /**
   * Checks that `path` can be written, and makes the directory. Symbolic links are followed.
   * @throws TraceFileError when it is a directory, or none can be made beside it
   */
  static async prepare(path: string): Promise<TraceOutput> {
    if (path === "") throw new TraceFileError(path, "the path is empty; expected a file");
    const target = await realpath(path).catch(() => path);
    const existing = await stat(target).catch(() => null);
    if (existing?.isDirectory()) throw new TraceFileError(path, "it is a directory; expected a file");
    const isFile = existing === null || existing.isFile();
    const prefix = isFile ? `${target}.` : join(tmpdir(), "kvm-age-trace.");
    const directory = await mkdtemp(prefix).catch((error: unknown) => {
      throw new TraceFileError(path, `no temporary directory can be made beside it (${reasonOf(error)})`);
    });
    return new TraceOutput(path, target, isFile, directory);
  }

  /**
   * Writes the text, compressed if the name ends in `.gz`.
   * @throws TraceFileError when the file system refuses; other errors are those of `text`
   */
  async write(text: Readable): Promise<void> {
    const temporary = this.isFile ? join(this.directory, "text") : this.target;
    const file = createWriteStream(temporary);
    try {
      if (this.path.endsWith(".gz")) await pipeline(text, createGzip(), file);
      else await pipeline(text, file);
      if (this.isFile) await rename(temporary, this.target);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
      throw new TraceFileError(this.path, reasonOf(error));
    }
  }

  /** Removes everything that was on the way. */
  async cleanUp(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}
