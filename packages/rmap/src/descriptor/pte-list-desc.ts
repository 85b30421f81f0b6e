import { type Address, type Cpu, offset } from "@kvm-age/machine";

declare const pteListDescBrand: unique symbol;

/**
 * Address of a descriptor (`struct pte_list_desc`): up to `PTE_LIST_EXT` slots of one list, and the link to an older, full
 * descriptor. The layout is the kernel's: metadata and the first six slots take 64 bytes, the other eight slots 64 more; links
 * and slots are 32-bit words at the start of their 8-byte cells. 0 is no descriptor.
 */
export type PteListDesc = Address & { readonly [pteListDescBrand]: never };

/** Slots of a descriptor. Kernel: `PTE_LIST_EXT`. */
export const PTE_LIST_EXT = 14;

/** Bytes of a descriptor. */
export const PTE_LIST_DESC_BYTES = 128;

const SPTE_COUNT = 8;
const TAIL_COUNT = 12;
const SPTES = 16;

/** u32 `more`: the next older descriptor, which is full, or 0. */
export function moreWord(desc: PteListDesc): Address {
  return desc;
}

/** u32 `spte_count`: slots in use, the first ones. */
export function spteCountWord(desc: PteListDesc): Address {
  return offset(desc, SPTE_COUNT);
}

/** u32 `tail_count`: slots in all older descriptors. Constant once the descriptor is in a list. */
export function tailCountWord(desc: PteListDesc): Address {
  return offset(desc, TAIL_COUNT);
}

/** u32 `sptes[index]`, `index` in [0, 13]; 0 if unused. */
export function descSpteWord(desc: PteListDesc, index: number): Address {
  return offset(desc, SPTES + index * 8);
}

/** The next older descriptor, or 0. */
export function descMore(cpu: Cpu, desc: PteListDesc): PteListDesc {
  return cpu.readOnce32(moreWord(desc)) as PteListDesc;
}

/** Slots in use. */
export function descSpteCount(cpu: Cpu, desc: PteListDesc): number {
  return cpu.readOnce32(spteCountWord(desc));
}

/** Slots in all older descriptors. */
export function descTailCount(cpu: Cpu, desc: PteListDesc): number {
  return cpu.readOnce32(tailCountWord(desc));
}

/** The slot at `index`, in [0, 13]; 0 if unused. */
export function descSpte(cpu: Cpu, desc: PteListDesc, index: number): Address {
  return cpu.readOnce32(descSpteWord(desc, index)) as Address;
}

/** Appends a slot to a descriptor with `count` of them, at most 13. */
export function descAppend(cpu: Cpu, desc: PteListDesc, count: number, sptep: Address): void {
  cpu.writeOnce32(descSpteWord(desc, count), sptep);
  cpu.writeOnce32(spteCountWord(desc), count + 1);
}
