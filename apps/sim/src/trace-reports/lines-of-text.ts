import { openTrace } from "@kvm-age/trace";
import { LineQueue } from "./line-queue.js";

/**
 * Reads some lines of a text, by number from 1.
 * @param wanted numbers of the lines, in ascending order
 */
export async function linesOfText(
  path: string,
  wanted: readonly number[],
): Promise<ReadonlyMap<number, string>> {
  const found = new Map<number, string>();
  const last = wanted.at(-1);
  if (last === undefined) return found;
  const numbers = new Set(wanted);
  const queue = new LineQueue();
  let line = 0;
  for await (const chunk of openTrace(path)) {
    queue.push(chunk);
    for (const text of queue.takeThrough(last)) {
      line++;
      if (numbers.has(line)) found.set(line, text);
    }
    if (line >= last) break;
  }
  for (const text of queue.takeAll()) {
    line++;
    if (numbers.has(line)) found.set(line, text);
  }
  return found;
}
