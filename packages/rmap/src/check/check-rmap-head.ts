import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import {
  descMore,
  descSpte,
  descSpteCount,
  descTailCount,
  PTE_LIST_EXT,
  type PteListDesc,
} from "../descriptor/pte-list-desc.js";
import {
  isRmapLocked,
  isRmapMany,
  type KvmRmapHead,
  rmapDescriptor,
  rmapSingle,
} from "../head/kvm-rmap-head.js";

const MAX_VALUE = 0xffff_ffffn;

/** What one walk over a chain has found. */
interface Census {
  readonly violations: string[];
  readonly at: string;
  readonly slots: Set<number>;
  readonly descriptors: PteListDesc[];
}

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

function checkSlot(census: Census, sptep: Address): void {
  const { violations, at, slots } = census;
  if (sptep % 8 !== 0) violations.push(`${at}: slot ${hex(sptep)} is not a multiple of 8`);
  if (slots.has(sptep)) violations.push(`${at}: slot ${hex(sptep)} is in the list twice`);
  slots.add(sptep);
}

function checkDescriptor(cpu: Cpu, census: Census, desc: PteListDesc): void {
  const at = `${census.at}, descriptor ${hex(desc)}`;
  const isFirst = census.descriptors.length === 0;
  const count = descSpteCount(cpu, desc);
  const minimum = isFirst ? 1 : PTE_LIST_EXT;
  if (count < minimum || count > PTE_LIST_EXT) {
    census.violations.push(`${at}: ${count} slots in use, allowed: ${minimum} to ${PTE_LIST_EXT}`);
  }
  for (let index = 0; index < PTE_LIST_EXT; index++) {
    const sptep = descSpte(cpu, desc, index);
    if (index < count && sptep === NULL_ADDRESS) {
      census.violations.push(`${at}: slot ${index} of ${count} is null`);
    } else if (index >= count && sptep !== NULL_ADDRESS) {
      census.violations.push(`${at}: slot ${index} beyond ${count} is ${hex(sptep)}`);
    } else if (sptep !== NULL_ADDRESS) checkSlot(census, sptep);
  }
  census.descriptors.push(desc);
}

/** The descriptors behind each one must hold as many slots as its `tail_count` says. */
function checkTailCounts(cpu: Cpu, census: Census): void {
  let behind = 0;
  for (const desc of census.descriptors.toReversed()) {
    const tailCount = descTailCount(cpu, desc);
    if (tailCount !== behind) {
      const at = `${census.at}, descriptor ${hex(desc)}`;
      census.violations.push(`${at}: tail_count is ${tailCount}, ${behind} slots lie behind it`);
    }
    behind += descSpteCount(cpu, desc);
  }
}

function checkChain(cpu: Cpu, census: Census, first: PteListDesc): void {
  for (let desc = first; desc !== NULL_ADDRESS; desc = descMore(cpu, desc)) {
    if (census.descriptors.includes(desc)) {
      census.violations.push(`${census.at}: the chain leads back to descriptor ${hex(desc)}`);
      return;
    }
    if (desc % 8 !== 0) {
      census.violations.push(`${census.at}: descriptor ${hex(desc)} is not a multiple of 8`);
      return;
    }
    checkDescriptor(cpu, census, desc);
  }
  checkTailCounts(cpu, census);
}

/**
 * Checks everything about one list that can be seen without its SPTEs: the head word, tails that are full, counts, null
 * slots behind the used ones, no slot twice. Held: the list's lock, or `mmu_lock` for write, or nobody else is running.
 *
 * @returns one sentence for each violation; empty if all is well
 */
export function checkRmapHead(cpu: Cpu, head: KvmRmapHead): string[] {
  const value = cpu.readOnce(head);
  if (value === 0n) return [];
  const at = `rmap head ${hex(head)} (${hex(value)})`;
  const census: Census = { violations: [], at, slots: new Set(), descriptors: [] };
  if (value > MAX_VALUE) census.violations.push(`${at}: no address of the arena`);
  else if (rmapSingle(value) === NULL_ADDRESS) {
    const tags = [isRmapMany(value) && "KVM_RMAP_MANY", isRmapLocked(value) && "KVM_RMAP_LOCKED"];
    census.violations.push(`${at}: ${tags.filter(Boolean).join(" and ")} without an address`);
  } else if (isRmapMany(value)) checkChain(cpu, census, rmapDescriptor(value));
  else checkSlot(census, rmapSingle(value));
  return census.violations;
}
