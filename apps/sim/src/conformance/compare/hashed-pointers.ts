const PAGE_BYTES = 4096;

/** Which address of the model is behind which hash that the kernel prints for a pointer: one to one, for as long as the page is in use. */
export class HashedPointers {
  private readonly hashes = new Map<number, bigint>();
  private readonly addresses = new Map<bigint, number>();

  /** Whether hash and address are a pair, or become one. Null has no hash: it prints as zeroes. */
  same(hash: bigint, address: number): boolean {
    if (hash === 0n || address === 0) return hash === BigInt(address);
    if (this.hashes.get(address) === hash) return true;
    if (this.hashes.has(address) || this.addresses.has(hash)) return false;
    this.hashes.set(address, hash);
    this.addresses.set(hash, address);
    return true;
  }

  /** A page is free: what takes its place has other addresses in the kernel. */
  forgetPage(page: number): void {
    for (let address = page; address < page + PAGE_BYTES; address += 8) {
      const hash = this.hashes.get(address);
      if (hash !== undefined) this.addresses.delete(hash);
      this.hashes.delete(address);
    }
  }
}
