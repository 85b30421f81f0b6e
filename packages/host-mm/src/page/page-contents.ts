import { type Address, type Cpu, offset } from "@kvm-age/machine";
import type { SwapDevice } from "../swap/swap-device.js";
import type { Page } from "./mem-map.js";

/**
 * A 64-bit token for the contents of every page and swap slot: enough to prove that no write is lost on the way to
 * swap and back.
 */
export class PageContents {
  constructor(
    private readonly address: Address,
    private readonly swap: SwapDevice,
  ) {}

  read(cpu: Cpu, page: Page): bigint {
    return cpu.readOnce(this.word(page));
  }

  write(cpu: Cpu, page: Page, value: bigint): void {
    cpu.writeOnce(this.word(page), value);
  }

  /** `clear_highpage` of `count` pages from `page`, which nobody else can reach yet. */
  clear(cpu: Cpu, page: Page, count: number): void {
    cpu.memset64(this.word(page), 0n, count);
  }

  /** The copy of `swap_writeout`: the page's contents go to the slot. */
  writeToSwap(cpu: Cpu, page: Page, slot: number): void {
    cpu.writeOnce(this.swap.contentsWord(slot), this.read(cpu, page));
  }

  /** The copy of `swap_read_folio`: the slot's contents come to the page. */
  readFromSwap(cpu: Cpu, page: Page, slot: number): void {
    this.write(cpu, page, cpu.readOnce(this.swap.contentsWord(slot)));
  }

  private word(page: Page): Address {
    return offset(this.address, page * 8);
  }
}
