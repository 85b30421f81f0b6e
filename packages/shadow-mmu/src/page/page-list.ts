import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { type KvmMmuPage, NO_PAGE } from "./kvm-mmu-page.js";

/**
 * A doubly linked list of pages through two u32 words of each (`list_head`). Its words are changed under `mmu_lock` held
 * for write. A page on no list has 0 in both words.
 */
export class PageList {
  /**
   * @param firstWord u32: the first page, 0 if the list is empty
   * @param lastWord u32: the last page
   * @param nextWord of a page: the page behind it
   * @param previousWord of a page: the page before it
   */
  constructor(
    private readonly firstWord: Address,
    private readonly lastWord: Address,
    private readonly nextWord: (sp: KvmMmuPage) => Address,
    private readonly previousWord: (sp: KvmMmuPage) => Address,
  ) {}

  first(cpu: Cpu): KvmMmuPage {
    return cpu.readOnce32(this.firstWord) as KvmMmuPage;
  }

  last(cpu: Cpu): KvmMmuPage {
    return cpu.readOnce32(this.lastWord) as KvmMmuPage;
  }

  next(cpu: Cpu, sp: KvmMmuPage): KvmMmuPage {
    return cpu.readOnce32(this.nextWord(sp)) as KvmMmuPage;
  }

  previous(cpu: Cpu, sp: KvmMmuPage): KvmMmuPage {
    return cpu.readOnce32(this.previousWord(sp)) as KvmMmuPage;
  }

  has(cpu: Cpu, sp: KvmMmuPage): boolean {
    return this.previous(cpu, sp) !== NO_PAGE || this.first(cpu) === sp;
  }

  addFirst(cpu: Cpu, sp: KvmMmuPage): void {
    const first = this.first(cpu);
    this.link(cpu, NO_PAGE, sp);
    this.link(cpu, sp, first);
  }

  addLast(cpu: Cpu, sp: KvmMmuPage): void {
    const last = this.last(cpu);
    this.link(cpu, last, sp);
    this.link(cpu, sp, NO_PAGE);
  }

  remove(cpu: Cpu, sp: KvmMmuPage): void {
    this.link(cpu, this.previous(cpu, sp), this.next(cpu, sp));
    cpu.writeOnce32(this.nextWord(sp), NULL_ADDRESS);
    cpu.writeOnce32(this.previousWord(sp), NULL_ADDRESS);
  }

  /** Makes two neighbours of pages, either of which may be 0: the end of the list on that side. */
  private link(cpu: Cpu, before: KvmMmuPage, after: KvmMmuPage): void {
    cpu.writeOnce32(before === NO_PAGE ? this.firstWord : this.nextWord(before), after);
    cpu.writeOnce32(after === NO_PAGE ? this.lastWord : this.previousWord(after), before);
  }
}
