/** Reserved bits of one MMU's entries (kernel `struct rsvd_bits_validate`). */
export interface RsvdBits {
  /** Reserved-bit masks: first index is bit 7 of the entry, second is level - 1 (five levels). */
  readonly rsvdBitsMask: readonly [readonly bigint[], readonly bigint[]];
  /**
   * EPT: bit n set when the combination n of entry bits 5:0 (memory type and XWR) is a misconfiguration.
   * 0 in other layouts.
   */
  readonly badMtXwr: bigint;
}
