import type { Cpu } from "@kvm-age/machine";
import {
  descMore,
  descSpte,
  descSpteCount,
  descTailCount,
  PTE_LIST_EXT,
} from "../../src/descriptor/pte-list-desc.js";
import { isRmapMany, rmapDescriptor, rmapSingle } from "../../src/head/kvm-rmap-head.js";
import { type KvmRmapHead, kvmRmapGet, pteListCount } from "../../src/index.js";
import { slotsOf } from "./operations.js";
import type { RmapVm } from "./vm.js";

/** A descriptor: `spte_count`, `tail_count`, numbers of the SPTEs up to the first null slot. */
export type DescState = readonly [number, number, readonly number[]];

/** Everything about a list, as the recorded vectors write it. */
export interface ListState {
  readonly kind: "empty" | "single" | "many";
  readonly count: number;
  /** From the head on. */
  readonly descs: readonly DescState[];
  readonly single?: number;
  readonly iter: readonly number[];
}

function descStates(vm: RmapVm, cpu: Cpu, value: bigint): DescState[] {
  const states: DescState[] = [];
  for (let desc = rmapDescriptor(value); desc !== 0; desc = descMore(cpu, desc)) {
    const ids: number[] = [];
    for (let index = 0; index < PTE_LIST_EXT; index++) {
      const slot = descSpte(cpu, desc, index);
      if (slot === 0) break;
      ids.push(vm.idOf(slot));
    }
    states.push([descSpteCount(cpu, desc), descTailCount(cpu, desc), ids]);
  }
  return states;
}

/** The state of a list at rest. */
export function listState(vm: RmapVm, cpu: Cpu, head: KvmRmapHead): ListState {
  const value = kvmRmapGet(cpu, head);
  const count = pteListCount(cpu, head);
  const iter = slotsOf(cpu, value).map((slot) => vm.idOf(slot));
  if (value === 0n) return { kind: "empty", count, descs: [], iter };
  if (!isRmapMany(value))
    return { kind: "single", count, descs: [], single: vm.idOf(rmapSingle(value)), iter };
  return { kind: "many", count, descs: descStates(vm, cpu, value), iter };
}
