import { access, constants, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { JsonFileError } from "./errors.js";

/**
 * Checks before a long run that its result can be written to `path` afterwards.
 * @throws JsonFileError when the path is a directory, or its directory is missing or not writable
 */
export async function checkJsonFile(path: string): Promise<void> {
  if (path === "") throw new JsonFileError(path, "the path is empty; expected a file");
  const existing = await stat(path).catch(() => null);
  if (existing?.isDirectory()) throw new JsonFileError(path, "it is a directory; expected a file");
  const directory = dirname(path);
  await access(directory, constants.W_OK).catch((error: NodeJS.ErrnoException) => {
    const reason = error.code === "ENOENT" ? "does not exist" : `is not writable (${error.code})`;
    throw new JsonFileError(path, `directory ${directory} ${reason}`);
  });
}

/** JSON for people and programs: two spaces of indentation, a newline at the end. */
export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/**
 * Writes JSON so that a reader sees the old file or the whole new one: to a file beside it, then renamed. A symbolic link is
 * followed; what is no regular file (a pipe, a device) is written to as it is.
 * @throws JsonFileError when the file system refuses
 */
export async function writeJsonFile(path: string, value: unknown): Promise<void> {
  const target = await realpath(path).catch(() => path);
  const existing = await stat(target).catch(() => null);
  const temporary = `${target}.${process.pid}.tmp`;
  try {
    if (existing !== null && !existing.isFile()) {
      await writeFile(target, jsonText(value));
      return;
    }
    await writeFile(temporary, jsonText(value), { flag: "wx" });
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    const { code, message } = error as NodeJS.ErrnoException;
    throw new JsonFileError(path, code ?? message);
  }
}
