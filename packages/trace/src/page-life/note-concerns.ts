import { kvmPagesPerHpage } from "@kvm-age/spte";
import { entryLevel } from "../state/entry-level.js";
import { decimalField, hexField, noteFields } from "../state/note-fields.js";

/** First frame and number of pages of the memory that the notes of a trace count pages in (`… npages= … gfn_base=`). */
export interface NotedMemory {
  readonly gfn: number;
  readonly pages: number;
}

/** The memory that a note introduces; null if it does not. */
export function notedMemory(text: string): NotedMemory | null {
  if (!text.includes("gfn_base=")) return null;
  const fields = noteFields(text);
  const [gfn, pages] = [hexField(fields.get("gfn_base")), decimalField(fields.get("npages"))];
  return gfn === null || pages === null ? null : { gfn, pages };
}

/** Notes about all memory: slots come and go, dirty logging begins and ends. */
const ABOUT_ALL = /^\S+: (?:slot_|log |start )/;

function concernsFrame(fields: ReadonlyMap<string, string>, gfn: number): boolean {
  const named = hexField(fields.get("gfn"));
  if (named === null) return false;
  const level = entryLevel(decimalField(fields.get("level")) ?? 1);
  return level !== null && named === gfn - (gfn % kvmPagesPerHpage(level));
}

function concernsPages(fields: ReadonlyMap<string, string>, gfn: number, memory: NotedMemory): boolean {
  const [first, count] = [hexField(fields.get("first")), decimalField(fields.get("count"))];
  const stride = decimalField(fields.get("stride")) ?? 1;
  if (first === null || count === null || stride === 0) return false;
  const distance = gfn - memory.gfn - first;
  return distance >= 0 && distance % stride === 0 && distance / stride < count;
}

/**
 * Whether a note is about a frame: it names it (`gfn=`, with `level=` for an entry that covers it), counts it among the pages of the noted
 * memory (`first= count= stride=`), or is about all memory.
 */
export function noteConcerns(text: string, gfn: number, memory: NotedMemory | null): boolean {
  const inMemory = memory !== null && gfn >= memory.gfn && gfn < memory.gfn + memory.pages;
  if (ABOUT_ALL.test(text)) return inMemory;
  const fields = noteFields(text);
  return concernsFrame(fields, gfn) || (inMemory && concernsPages(fields, gfn, memory));
}
