import { writeFile } from "node:fs/promises";
import { DrawingFileError } from "./errors.js";

/**
 * Writes a drawing to a file.
 * @throws DrawingFileError when the file system refuses
 */
export async function writeDrawing(path: string, text: string): Promise<void> {
  await writeFile(path, text).catch((error: NodeJS.ErrnoException) => {
    throw new DrawingFileError(path, error.code ?? error.message);
  });
}
