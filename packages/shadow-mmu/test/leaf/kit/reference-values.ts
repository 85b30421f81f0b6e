import { linux73, linux612, linux615, type RuleSet, type Spte } from "@kvm-age/spte";
import { type LeafGuestInit, SLOT_GFN } from "./leaf-guest.js";

/**
 * Entries as the kernel's own functions make them (recorded vectors), for pfn 0x12345, and pfn 0x40000 where huge. Nothing here is computed
 * by the package.
 */
export interface ReferenceFormat {
  readonly name: string;
  readonly init: LeafGuestInit;
  readonly ruleSet: RuleSet;
  readonly adBits: boolean;
  /** First access through a writable host page. */
  readonly demand: bigint;
  readonly prefetch: bigint;
  readonly hostReadOnly: bigint;
  /** The gfn must stay write-protected for good. */
  readonly writeProtected: bigint;
  /** `demand`, aged. */
  readonly aged: bigint;
  /** `aged` after a fast read fault without hardware A/D; null where aging hides nothing. */
  readonly restoredByRead: bigint | null;
  /** `demand` with W cleared for dirty logging. */
  readonly logged: bigint;
  readonly huge: bigint;
  readonly accessedBit: bigint;
  readonly dirtyBit: bigint;
  readonly mmuWritableBit: bigint;
}

const ept = { accessedBit: 0x100n, dirtyBit: 0x200n };
const classic = {
  adBits: true,
  demand: 0x12345e67n,
  prefetch: 0x12345e47n,
  hostReadOnly: 0x12345825n,
  writeProtected: 0x12345a25n,
  aged: 0x12345e47n,
  restoredByRead: null,
  logged: 0x12345e65n,
  huge: 0x40000ee7n,
  accessedBit: 0x20n,
  dirtyBit: 0x40n,
  mmuWritableBit: 0x400n,
};

/** Every format of linear contexts under both rule sets. */
export const FORMATS: readonly ReferenceFormat[] = [
  {
    name: "7.3 EPT",
    init: { mode: "ept", ruleSet: linux73 },
    ruleSet: linux73,
    adBits: true,
    demand: 0x80a0000012345f77n,
    prefetch: 0x80a0000012345e77n,
    hostReadOnly: 0x8000000012345d75n,
    writeProtected: 0x8020000012345d75n,
    aged: 0x80a0000012345e77n,
    restoredByRead: null,
    logged: 0x80a0000012345f75n,
    huge: 0x80a0000040000ff7n,
    mmuWritableBit: 1n << 55n,
    ...ept,
  },
  {
    name: "7.3 EPT without A/D bits",
    init: { mode: "ept", adBits: false, ruleSet: linux73 },
    ruleSet: linux73,
    adBits: false,
    demand: 0x90a0000012345f77n,
    prefetch: 0xd0f0000012345a70n,
    hostReadOnly: 0x9000000012345d75n,
    writeProtected: 0x9020000012345d75n,
    aged: 0xd0f0000012345a70n,
    restoredByRead: 0x90a0000012345f75n,
    logged: 0x90a0000012345f75n,
    huge: 0x90a0000040000ff7n,
    mmuWritableBit: 1n << 55n,
    ...ept,
  },
  { name: "7.3 NPT", init: { mode: "npt", ruleSet: linux73 }, ruleSet: linux73, ...classic },
  { name: "7.3 paging off", init: { mode: "shadow", ruleSet: linux73 }, ruleSet: linux73, ...classic },
  {
    name: "6.15 EPT",
    init: { mode: "ept", ruleSet: linux615 },
    ruleSet: linux615,
    adBits: true,
    demand: 0x8600000012345b77n,
    prefetch: 0x8600000012345a77n,
    hostReadOnly: 0x8000000012345975n,
    writeProtected: 0x8200000012345975n,
    aged: 0x8600000012345a77n,
    restoredByRead: null,
    logged: 0x8600000012345b75n,
    huge: 0x8600000040000bf7n,
    mmuWritableBit: 1n << 58n,
    ...ept,
  },
  {
    name: "6.15 EPT without A/D bits",
    init: { mode: "ept", adBits: false, ruleSet: linux615 },
    ruleSet: linux615,
    adBits: false,
    demand: 0x8610000012345b77n,
    prefetch: 0x8750000012345a70n,
    hostReadOnly: 0x8010000012345975n,
    writeProtected: 0x8210000012345975n,
    aged: 0x8750000012345a70n,
    restoredByRead: 0x8610000012345b75n,
    logged: 0x8610000012345b75n,
    huge: 0x8610000040000bf7n,
    mmuWritableBit: 1n << 58n,
    ...ept,
  },
  { name: "6.15 NPT", init: { mode: "npt", ruleSet: linux615 }, ruleSet: linux615, ...classic },
  { name: "6.15 paging off", init: { mode: "shadow", ruleSet: linux615 }, ruleSet: linux615, ...classic },
];

/** Every format of 6.12, which ages under `mmu_lock`. */
export const FORMATS_612: readonly ReferenceFormat[] = [
  {
    name: "6.12 EPT",
    init: { mode: "ept", ruleSet: linux612 },
    ruleSet: linux612,
    adBits: true,
    demand: 0x8600000012345b77n,
    prefetch: 0x8600000012345a77n,
    hostReadOnly: 0x8000000012345975n,
    writeProtected: 0x8200000012345975n,
    aged: 0x8600000012345a77n,
    restoredByRead: null,
    logged: 0x8600000012345b75n,
    huge: 0x8600000040000bf7n,
    mmuWritableBit: 1n << 58n,
    ...ept,
  },
  {
    name: "6.12 EPT without A/D bits",
    init: { mode: "ept", adBits: false, ruleSet: linux612 },
    ruleSet: linux612,
    adBits: false,
    demand: 0x8610000012345877n,
    prefetch: 0x8750000012345870n,
    hostReadOnly: 0x8010000012345875n,
    writeProtected: 0x8210000012345875n,
    aged: 0x8750000012345870n,
    restoredByRead: 0x8610000012345875n,
    logged: 0x8610000012345875n,
    huge: 0x86100000400008f7n,
    mmuWritableBit: 1n << 58n,
    ...ept,
  },
  { name: "6.12 NPT", init: { mode: "npt", ruleSet: linux612 }, ruleSet: linux612, ...classic },
  { name: "6.12 paging off", init: { mode: "shadow", ruleSet: linux612 }, ruleSet: linux612, ...classic },
];

/** Every format there is. */
export const EVERY_FORMAT: readonly ReferenceFormat[] = [...FORMATS, ...FORMATS_612];

const ADDRESS_MASK = 0x000ffffffffff000n;

/** A reference value with another frame number. */
export function withPfn(reference: bigint, pfn: number): Spte {
  return ((reference & ~ADDRESS_MASK) | (BigInt(pfn) << 12n)) as Spte;
}

/** Host frame of page `page` of the slot. */
export function pfnOfPage(page: number): number {
  return 0x400000 + SLOT_GFN + page;
}

/** A reference value for page `page` of the slot. */
export function ofPage(reference: bigint, page: number): Spte {
  return withPfn(reference, pfnOfPage(page));
}
