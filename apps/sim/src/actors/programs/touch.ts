import type { Actor } from "../actor.js";
import type { PageRange } from "../protocol.js";

const PAGES_PER_LOOK = 64;

/** The guest's loop of memstress: reads or writes one word in every page of a range. */
export function touch(actor: Actor, range: PageRange & { readonly write: boolean }): null {
  const end = range.firstPage + range.pages;
  for (let page = range.firstPage; page < end; page++) {
    actor.access(page, range.write);
    if (page % PAGES_PER_LOOK !== 0) continue;
    actor.control.addProgress(PAGES_PER_LOOK);
    if (actor.control.isStopping) break;
  }
  actor.vcpu!.exitGuest(actor.cpu);
  return null;
}
