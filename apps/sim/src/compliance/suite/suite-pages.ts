import type { Cpu } from "@kvm-age/machine";
import type { Pfn } from "@kvm-age/spte";
import type { Vm } from "../../vm/vm.js";

const VERSION_BITS = 32n;

/** What the guest has written to each test page, and whether the pages still say so. One thread, so that every read has one right answer. */
export class SuitePages {
  private readonly versions: Uint32Array;

  constructor(
    private readonly vm: Vm,
    private readonly cpu: Cpu,
  ) {
    this.versions = new Uint32Array(vm.config.guestPages);
  }

  /** The guest has written to a page through a translation to `pfn`. */
  write(page: number, pfn: number): void {
    this.versions[page]!++;
    this.vm.hostMm.writeContent(this.cpu, pfn as Pfn, this.token(page));
  }

  /** Why a read of a page through a translation to `pfn` is wrong, if it is. */
  misread(page: number, pfn: number): string | undefined {
    const found = BigInt.asUintN(64, this.vm.hostMm.readContent(this.cpu, pfn as Pfn));
    if (found === this.token(page)) return undefined;
    const owner = Number(found >> VERSION_BITS) - 1;
    return `page ${page} was read at pfn 0x${pfn.toString(16)}: page ${owner}, version ${found & 0xffffffffn} instead of ${this.versions[page]}`;
  }

  /** The host has dropped what the pages held. */
  forget(firstPage: number, pages: number): void {
    this.versions.fill(0, firstPage, firstPage + pages);
  }

  /** A page that was never written to is zero. */
  private token(page: number): bigint {
    const version = this.versions[page]!;
    return version === 0 ? 0n : (BigInt(page + 1) << VERSION_BITS) | BigInt(version);
  }
}
