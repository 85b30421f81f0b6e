import type { Agevm } from "./agevm.js";
import { TEST_GFN } from "./agevm-config.js";

const PAGES_PER_WORD = 64;

/** The VMM's use of `/sys/kernel/mm/page_idle/bitmap` for its test pages. */
export class IdleBitmap {
  constructor(private readonly vm: Agevm) {}

  /** Marks pages idle, one after the other. */
  set(first: number, count: number): void {
    const { hostMm, cpu, log } = this.vm;
    let wrote = 0;
    for (let page = first; page < first + count; page++) {
      const pfn = hostMm.pagemapLookup(cpu, this.vm.hvaOf(page));
      if (pfn < 0) continue;
      wrote++;
      hostMm.pageIdle.writeWord(cpu, Math.floor(pfn / PAGES_PER_WORD), 1n << BigInt(pfn % PAGES_PER_WORD));
    }
    log.note(`idle_set first=${first.toString(16)} count=${count} wrote=${wrote} nopfn=${count - wrote}`);
  }

  /** Reads the marks, a word of the bitmap at a time. */
  get(first: number, count: number): void {
    const { hostMm, cpu, log } = this.vm;
    const counts = { idle: 0, nopfn: 0 };
    let [word, bits] = [-1, 0n];
    for (let page = first; page < first + count; page++) {
      const pfn = hostMm.pagemapLookup(cpu, this.vm.hvaOf(page));
      const place = `page=${page.toString(16)} gfn=${(TEST_GFN + page).toString(16)}`;
      if (pfn < 0) {
        counts.nopfn++;
        log.note(`idle_get ${place} pfn=0 idle=0`);
        continue;
      }
      const wanted = Math.floor(pfn / PAGES_PER_WORD);
      if (wanted !== word) [word, bits] = [wanted, hostMm.pageIdle.readWord(cpu, wanted)];
      const idle = (bits & (1n << BigInt(pfn % PAGES_PER_WORD))) === 0n ? 0 : 1;
      counts.idle += idle;
      log.note(`idle_get ${place} pfn=${pfn.toString(16)} idle=${idle}`);
    }
    log.note(`idle_get first=${first.toString(16)} count=${count} idle=${counts.idle} nopfn=${counts.nopfn}`);
  }
}
